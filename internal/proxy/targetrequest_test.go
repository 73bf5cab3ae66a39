package proxy

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/testkit"
)

// startRecorder starts an app that shows the requests it gets.
func startRecorder(t testing.TB) (*testkit.App, <-chan *http.Request) {
	t.Helper()
	requests := make(chan *http.Request, 100)
	return testkit.StartHandler(t, func(_ http.ResponseWriter, r *http.Request) { requests <- r }), requests
}

// TestSpoofedForwardingHeadersAreReplaced unless a trusted proxy sends them.
// forwardingHeaders are the headers in which a sender says for whom it speaks.
var forwardingHeaders = []string{
	"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix",
	"X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Forwarded-Server", "X-Forwarded-Ssl", "X-Real-Ip",
}

func TestSpoofedForwardingHeadersAreReplaced(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a, requests := startRecorder(t)
	e.deploy(requestFor("app", a))
	send := func(trusted bool) http.Header {
		t.Helper()
		req := e.request("GET", "app.example.com:8080", "/", nil)
		for _, name := range forwardingHeaders {
			req.Header[name] = []string{"spoofed"}
		}
		req.Header.Add("X-Forwarded-For", "more")
		req.Header.Set("X-Request-Id", "given")
		req.Header.Set("Connection", "X-Forwarded-For, X-Forwarded-Host") // hop by hop, so to say
		if trusted {
			req.Header.Del("Connection")
			req.Header.Set("X-Test-Trusted", "yes")
		}
		if status, body := e.do(req); status != http.StatusOK {
			t.Fatal(status, body)
		}
		return (<-requests).Header
	}
	want := map[string]string{
		"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "app.example.com:8080", "X-Forwarded-Proto": "http",
	}
	h := send(false)
	for _, name := range forwardingHeaders {
		if got := strings.Join(h[name], "|"); got != want[name] {
			t.Errorf("from an untrusted sender, %s is %q, want %q", name, got, want[name])
		}
	}
	h = send(true)
	for _, name := range forwardingHeaders {
		want := "spoofed"
		if name == "X-Forwarded-For" {
			want = "spoofed, more, 127.0.0.1"
		}
		if got := strings.Join(h[name], "|"); got != want {
			t.Errorf("from a trusted sender, %s is %q, want %q", name, got, want)
		}
	}
	if h.Get("X-Request-Id") != "given" {
		t.Errorf("X-Request-Id is %q, want what the client sent", h.Get("X-Request-Id"))
	}
}

func TestTargetsAreToldAboutTheRequest(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a, requests := startRecorder(t)
	req := requestFor("app", a)
	req.PathPrefixes = []string{"/", "/api"}
	e.deploy(req)
	e.wantAnswer("app.example.com", "/api/x", "")
	first := <-requests
	if first.Host != "app.example.com" || first.URL.Path != "/x" || first.Header.Get("X-Forwarded-Prefix") != "/api" {
		t.Errorf("Host %q, path %q, prefix %q", first.Host, first.URL.Path, first.Header.Get("X-Forwarded-Prefix"))
	}
	if start := first.Header.Get("X-Request-Start"); !strings.HasPrefix(start, "t=") || len(start) != len("t=1700000000000") {
		t.Errorf("X-Request-Start is %q, want milliseconds", start)
	}
	e.wantAnswer("app.example.com", "/x", "")
	second := <-requests
	if _, ok := second.Header["X-Forwarded-Prefix"]; ok {
		t.Error("nothing was stripped, but there is an X-Forwarded-Prefix")
	}
	if a, b := first.Header.Get("X-Request-Id"), second.Header.Get("X-Request-Id"); a == "" || a == b {
		t.Errorf("request ids %q and %q, want one for each", a, b)
	}

	// Over TLS, and from an address without a port, as of a Unix socket.
	r := httptest.NewRequest("GET", "https://app.example.com/x", nil)
	r.RemoteAddr, r.TLS = "@", &tls.ConnectionState{}
	e.handle(httptest.NewRecorder(), r)
	third := (<-requests).Header
	if third.Get("X-Forwarded-Proto") != "https" || third.Get("X-Forwarded-For") != "@" {
		t.Errorf("proto %q, for %q", third.Get("X-Forwarded-Proto"), third.Get("X-Forwarded-For"))
	}
}

// TestTargetsCanTrustWhatTheyAreTold checks that an app sees one value of each
// header that says who the client is, however many the client sends.
func TestTargetsCanTrustWhatTheyAreTold(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a, requests := startRecorder(t)
	e.deploy(requestFor("app", a))
	for i, spelling := range []string{"x-forwarded-for", "X-FORWARDED-FOR", "X-Forwarded-For"} {
		conn, r := e.dial()
		_, _ = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: h\r\n%s: 6.6.6.6\r\n%s: 7.7.7.7\r\n\r\n", spelling, strings.ToLower(spelling))
		if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(resp, err)
		}
		if got := (<-requests).Header["X-Forwarded-For"]; len(got) != 1 || got[0] != "127.0.0.1" {
			t.Errorf("spelling %d: X-Forwarded-For is %q", i, got)
		}
	}
}
