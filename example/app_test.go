package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// start serves the application on a real socket. Its name and version are
// web-1 and v7 unless the options say otherwise.
func start(t *testing.T, opts options) (*app, *httptest.Server) {
	t.Helper()
	if opts.name == "" {
		opts.name, opts.version = "web-1", "v7"
	}
	a := newApp(opts, time.Now())
	srv := httptest.NewServer(a)
	t.Cleanup(srv.Close)
	t.Cleanup(a.endStreams) // first, or the server waits for endless responses
	return a, srv
}

// fetch sends a request and returns the status, the headers and the body.
func fetch(t *testing.T, method, url, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(answer)
}

func TestEveryAnswerNamesTheInstance(t *testing.T) {
	_, healthy := start(t, options{})
	_, booting := start(t, options{bootDelay: time.Hour})
	_, guarded := start(t, options{checkHost: "app.example.com"})
	_, failing := start(t, options{failRate: 1})

	for _, test := range []struct {
		method, url string
		status      int
	}{
		{"GET", healthy.URL + "/", 200},
		{"GET", healthy.URL + "/up", 200},
		{"GET", healthy.URL + "/slow?d=1ms", 200},
		{"GET", healthy.URL + "/slow?d=1h", 400},
		{"GET", healthy.URL + "/slow?d=soon", 400},
		{"GET", healthy.URL + "/sse?every=0s", 400},
		{"GET", healthy.URL + "/ws", 426},
		{"POST", healthy.URL + "/upload", 200},
		{"GET", healthy.URL + "/upload", 405},
		{"GET", healthy.URL + "/echo", 200},
		{"GET", healthy.URL + "/admin/health?up=false", 405},
		{"POST", healthy.URL + "/admin/health?up=perhaps", 400},
		{"GET", healthy.URL + "/nowhere", 404},
		{"GET", healthy.URL + "/fail", 500},
		{"GET", failing.URL + "/", 500},
		{"GET", failing.URL + "/up", 200},
		{"GET", booting.URL + "/", 503},
		{"GET", booting.URL + "/up", 503},
		{"GET", guarded.URL + "/up", 400},
	} {
		resp, body := fetch(t, test.method, test.url, "")
		target := test.method + " " + resp.Request.URL.RequestURI()
		if resp.StatusCode != test.status {
			t.Errorf("%s: status %d, want %d", target, resp.StatusCode, test.status)
		}
		if name, version := resp.Header.Get("X-Instance"), resp.Header.Get("X-Version"); name != "web-1" || version != "v7" {
			t.Errorf("%s: headers name %q %q", target, name, version)
		}
		if !strings.Contains(body, "web-1") || !strings.Contains(body, "v7") {
			t.Errorf("%s: body names nobody: %s", target, body)
		}
	}
}

func TestPageIsTextUnlessHTMLIsAskedFor(t *testing.T) {
	_, srv := start(t, options{})
	for accept, want := range map[string]string{
		"*/*":                             "text/plain; charset=utf-8",
		"text/html,application/xml;q=0.9": "text/html; charset=utf-8",
	} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, nil)
		req.Header.Set("Accept", accept)
		req.Header.Set("X-Probe", "<b>&")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if got := resp.Header.Get("Content-Type"); got != want {
			t.Errorf("Accept %q: got %q, want %q", accept, got, want)
		}
		if !strings.Contains(string(body), "X-Probe") {
			t.Errorf("Accept %q: the request's headers are missing", accept)
		}
		if strings.HasPrefix(want, "text/html") && strings.Contains(string(body), "<b>") {
			t.Error("a header reaches the page unescaped")
		}
	}
}

func TestEchoKeepsTheRequestTarget(t *testing.T) {
	_, srv := start(t, options{})
	for _, target := range []string{
		"/echo",
		"/echo?a;b=%zz&c=<d>",
		"/echo/a%2Fb//c/../d?",
		"http://other.example/echo/x",
	} {
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\nX-Twice: 1\r\nX-Twice: 2\r\n\r\n", target)
		raw, err := io.ReadAll(conn)
		conn.Close()
		if err != nil {
			t.Fatal(err)
		}
		_, body, _ := strings.Cut(string(raw), "\r\n\r\n")
		var got struct {
			Method, Target, Proto string
			Headers               http.Header
		}
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatalf("%s: %v in %s", target, err, raw)
		}
		if got.Method != "GET" || got.Target != target || got.Proto != "HTTP/1.1" {
			t.Errorf("%s arrived as %+v", target, got)
		}
		if twice := got.Headers["X-Twice"]; !slices.Equal(twice, []string{"1", "2"}) {
			t.Errorf("repeated header arrived as %q", twice)
		}
	}
}

func TestOtherHostIsRefused(t *testing.T) {
	a := newApp(options{checkHost: "app.example.com"}, time.Now())
	for host, want := range map[string]bool{
		"app.example.com":      true,
		"APP.example.com:8080": true,
		"example.com":          false,
		"127.0.0.1:3000":       false,
		"":                     false,
	} {
		if got := a.isHost(host); got != want {
			t.Errorf("isHost(%q) = %t", host, got)
		}
	}
}

func TestUploadTellsWhatArrived(t *testing.T) {
	_, srv := start(t, options{})
	content := strings.Repeat("parachute", 100_000)
	sum := sha256.Sum256([]byte(content))

	_, body := fetch(t, http.MethodPut, srv.URL+"/upload", content)
	var got struct {
		Bytes  int
		SHA256 string
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if got.Bytes != len(content) || got.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("got %+v", got)
	}
}

func TestSlowStopsWhenTheClientLeaves(t *testing.T) {
	a := newApp(options{}, time.Now())
	arrived, left := make(chan struct{}), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		a.ServeHTTP(w, r)
		close(left)
	}))
	defer srv.Close()

	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "GET /slow?d=10m HTTP/1.1\r\nHost: app\r\n\r\n")
	<-arrived
	conn.Close()
	<-left
}
