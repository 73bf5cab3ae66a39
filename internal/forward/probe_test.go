package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// probe asks the app once, with the options that change makes of the defaults.
func probe(t *testing.T, target string, change func(*api.DeployRequest)) probeResult {
	t.Helper()
	req := api.DeployRequest{Targets: []string{target}}
	if change != nil {
		change(&req)
	}
	s, err := req.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	r := newTestForwarder().NewRelease(s)
	defer r.Close()
	return r.upstreams[0].prober().probe(t.Context())
}

func TestOnlyA2xxIsHealthy(t *testing.T) {
	a := testkit.StartApp(t, "app")
	for status, want := range map[int]string{
		200: "", 204: "", 299: "",
		304: "304 Not Modified", 400: "400 Bad Request", 404: "404 Not Found", 500: "500 Internal Server Error",
		503: "503 Service Unavailable", 599: "599",
	} {
		a.Health.Store(int32(status))
		if got := probe(t, a.Target, nil).reason; got != want {
			t.Errorf("%d: %q, want %q", status, got, want)
		}
	}
}

// Applications that insist on HTTPS would answer a check that does not come as visitors do
// with a redirect.
func TestHealthCheckAsksLikeAVisitor(t *testing.T) {
	a := testkit.StartApp(t, "app")
	tls := func(r *api.DeployRequest) { r.Hosts, r.TLS = []string{"shop.test"}, &api.TLSRequest{} }
	header := func(r *api.DeployRequest) {
		r.HealthCheckHeaders = []string{"x-forwarded-proto: https", "X-Check:", "User-Agent: mine"}
	}
	for name, tt := range map[string]struct {
		change func(*api.DeployRequest)
		want   map[string]string
	}{
		"plain":   {func(*api.DeployRequest) {}, map[string]string{"X-Forwarded-Proto": "", "X-Forwarded-Host": "", "User-Agent": "parachute/test"}},
		"TLS":     {tls, map[string]string{"X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.test"}},
		"headers": {header, map[string]string{"X-Forwarded-Proto": "https", "X-Check": "", "User-Agent": "mine"}},
	} {
		if got := probe(t, a.Target, tt.change); !got.ok() {
			t.Fatalf("%s: %s", name, got.reason)
		}
		sent := a.LastProbe.Load().Header
		for field, want := range tt.want {
			if got := sent.Get(field); got != want {
				t.Errorf("%s: %s is %q, want %q", name, field, got, want)
			}
		}
	}
	for _, line := range []string{"", "X-Forwarded-Proto", ": https", "X Y: a", "X: a\r\nY: b", "Host: a.test"} {
		req := api.DeployRequest{Targets: []string{"web:1"}, HealthCheckHeaders: []string{line}}
		if err := req.Validate(); api.ErrorCode(err) != api.CodeInvalid {
			t.Errorf("%q: %v, want it to be refused", line, err)
		}
	}
}

// TestRedirectIsUnhealthy because it may lead to another app, whose 200 would count.
func TestRedirectIsUnhealthy(t *testing.T) {
	for _, status := range []int{301, 302, 307, 308} {
		followed := false
		l := testkit.Listen(t, "tcp", "127.0.0.1:0")
		server := &http.Server{ReadHeaderTimeout: testkit.Timeout, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/login" {
				followed = true
				return
			}
			http.Redirect(w, r, "/login?next=%2Fup", status)
		})}
		go func() { _ = server.Serve(l) }()
		want := fmt.Sprintf("%d redirect to /login?next=%%2Fup, which is not followed", status)
		if got := probe(t, l.Addr().String(), nil); got.reason != want || got.unreachable || followed {
			t.Errorf("%+v, followed %v, want %q", got, followed, want)
		}
		_ = server.Close()
	}
}

// TestProbesLookLikeTheServicesOwnRequests so that an app which checks its host is
// healthy without options.
func TestProbesLookLikeTheServicesOwnRequests(t *testing.T) {
	a := testkit.StartApp(t, "app")
	for name, tt := range map[string]struct {
		change func(*api.DeployRequest)
		want   string
	}{
		"no host":         {nil, a.Target},
		"first host":      {func(r *api.DeployRequest) { r.Hosts = []string{"app.example.com", "b.example.com"} }, "app.example.com"},
		"wildcard first":  {func(r *api.DeployRequest) { r.Hosts = []string{"*.example.com", "b.example.com"} }, "b.example.com"},
		"only a wildcard": {func(r *api.DeployRequest) { r.Hosts = []string{"*.example.com"} }, "health-check.example.com"},
		"given": {func(r *api.DeployRequest) {
			r.Hosts, r.HealthCheckHost = []string{"app.example.com"}, "Internal.example.com:8080"
		}, "Internal.example.com:8080"},
	} {
		if got := probe(t, a.Target, tt.change); !got.ok() {
			t.Errorf("%s: %+v", name, got)
		}
		r := a.LastProbe.Load()
		if r.Host != tt.want || r.Method != http.MethodGet || r.UserAgent() != "parachute/test" || r.Header.Get("X-Forwarded-For") != "" {
			t.Errorf("%s: %s, Host %q, %v, want the host %q", name, r.Method, r.Host, r.Header, tt.want)
		}
	}
}

func TestProbesUseTheirOwnPathPortAndConnection(t *testing.T) {
	a := testkit.StartApp(t, "app")
	_, port, _ := net.SplitHostPort(a.Target)
	got := make(chan string, 10)
	a.Handler = func(w http.ResponseWriter, r *http.Request) { got <- r.RemoteAddr + " " + r.RequestURI }
	for range 2 {
		if result := probe(t, testkit.RefusedAddress, func(r *api.DeployRequest) {
			r.HealthCheckPath = "/health%2Fz?deep=1&x=%20"
			_, _ = fmt.Sscan(port, &r.HealthCheckPort)
		}); !result.ok() {
			t.Fatal(result.reason)
		}
	}
	first, second := <-got, <-got
	if !strings.HasSuffix(first, " /health%2Fz?deep=1&x=%20") || first == second {
		t.Errorf("asked %q and %q, want the path byte for byte and two connections", first, second)
	}
}

func TestFailuresSayWhatIsWrong(t *testing.T) {
	garbage := func(answer string) string {
		l := testkit.Listen(t, "tcp", "127.0.0.1:0")
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Read(make([]byte, 1000))
				_, _ = io.WriteString(conn, answer)
				_ = conn.Close()
			}
		}()
		return l.Addr().String()
	}
	dir := testkit.SocketPath(t)
	for _, tt := range []struct {
		name, target, want string
		unreachable        bool
	}{
		{"nothing listens", testkit.RefusedAddress, "connection refused", true},
		{"no socket", "unix/" + dir, "no such socket", true},
		{"no answer", garbage(""), "connection closed without an answer", false},
		{"not HTTP", garbage("220 mail.example.com ESMTP\x1b[31m\r\n"), `malformed HTTP answer: it begins with "220 mail.example.com ESMTP`, false},
		{"two lengths", garbage("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"), `malformed HTTP answer: it has two lengths: "2" and "3"`, false},
		{"no TLS", "https://" + garbage("hello"), "first record does not look like a TLS handshake", false},
	} {
		got := probe(t, tt.target, nil)
		if !strings.Contains(got.reason, tt.want) || got.unreachable != tt.unreachable || strings.ContainsFunc(got.reason, api.IsControl) {
			t.Errorf("%s: %+v, want %q, unreachable %v", tt.name, got, tt.want, tt.unreachable)
		}
	}
	silent := testkit.Listen(t, "tcp", "127.0.0.1:0")
	if got := probe(t, silent.Addr().String(), func(r *api.DeployRequest) { r.HealthCheckTimeout = testkit.Milliseconds(20) }); got.reason != "no answer within 20ms" || got.unreachable {
		t.Errorf("no answer: %+v", got)
	}
}

func TestTheSameFailureHasTheSameWords(t *testing.T) {
	for want, err := range map[string]error{
		"connection refused":                   &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)},
		"connection reset":                     fmt.Errorf("read tcp 1.2.3.4:56789: %w", syscall.ECONNRESET),
		"no route to host":                     syscall.EHOSTUNREACH,
		"network is unreachable":               syscall.ENETUNREACH,
		"permission denied":                    syscall.EACCES,
		"host name a?b does not resolve":       &net.DNSError{Err: "no such host", Name: "a\x1bb", IsNotFound: true},
		"looking up web failed: server broken": &net.DNSError{Err: "server broken", Name: "web"},
		"connecting timed out":                 &dialError{err: &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}},
		"something else":                       &url.Error{Op: "Get", URL: "http://web", Err: errors.New("something else")},
	} {
		if got := DialReason(&url.Error{Op: "Get", URL: "http://web/up", Err: &dialError{err: err}}); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}

// TestProbeOfAnEndlessAnswerEnds is about an app whose health page streams.
func TestProbeOfAnEndlessAnswerEnds(t *testing.T) {
	l := testkit.Listen(t, "tcp", "127.0.0.1:0")
	server := &http.Server{ReadHeaderTimeout: testkit.Timeout, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = w.Write(make([]byte, 4096))
		}
	})}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Timeout)
	defer cancel()
	if got := probe(t, l.Addr().String(), nil); !got.ok() || ctx.Err() != nil {
		t.Errorf("%+v", got)
	}
}
