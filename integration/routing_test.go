package integration

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Traps 37, 39 and 40, end to end.
func TestRequestsFindTheirService(t *testing.T) {
	p := startProxy(t)
	for name, req := range map[string]api.DeployRequest{
		"exact":    {Hosts: []string{"app1.example.com", "bücher.de"}},
		"api":      {Hosts: []string{"app1.example.com"}, PathPrefixes: []string{"/api"}},
		"wildcard": {Hosts: []string{"*.example.com"}},
		"v6":       {Hosts: []string{"2001:db8::1"}},
	} {
		req.Service, req.Targets = name, []string{startApp(t, name, nil).addr()}
		deploy(t, p, req)
	}
	for _, c := range []struct{ host, path, want string }{
		{"app1.example.com", "/", "exact"},
		{"APP1.Example.com.:80", "/", "exact"},
		{"xn--bcher-kva.de", "/", "exact"},
		{"app1.example.com", "/api", "api"},
		{"app1.example.com", "/api/users", "api"},
		{"app1.example.com", "/api2", "exact"},
		{"app1.example.com", "/api%2Fusers", "exact"},
		{"app2.example.com", "/api", "wildcard"},
		{"a.b.example.com", "/", ""},
		{"example.com", "/", ""},
		{"[2001:db8::1]:8080", "/", "v6"},
		{"unknown.test", "/", ""},
	} {
		resp, body := get(t, p, c.host, c.path)
		switch {
		case c.want != "" && body != c.want:
			t.Errorf("%s%s was answered by %q, want %q", c.host, c.path, body, c.want)
		case c.want == "" && (resp.StatusCode != http.StatusNotFound || !strings.Contains(body, "parachute: no service is deployed")):
			t.Errorf("%s%s: %s %q, want a 404 that names parachute", c.host, c.path, resp.Status, body)
		}
	}
	deploy(t, p, api.DeployRequest{Service: "rest", Targets: []string{startApp(t, "rest", nil).addr()}})
	if _, body := get(t, p, "a.b.example.com", "/"); body != "rest" {
		t.Errorf("the catch-all does not catch: %q", body)
	}
}

// Trap 32: the request line reaches the app byte by byte, also behind a prefix that is not
// stripped.
func TestRequestTargetIsPassedOnUntouched(t *testing.T) {
	p := startProxy(t)
	a := startApp(t, "a", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RequestURI) })
	deploy(t, p, to(a))
	deploy(t, p, api.DeployRequest{Targets: []string{a.addr()}, Service: "prefix", PathPrefixes: []string{"/app"}})
	keep := false
	deploy(t, p, api.DeployRequest{Targets: []string{a.addr()}, Service: "kept", PathPrefixes: []string{"/kept"}, StripPathPrefix: &keep})
	for _, target := range []string{"/", "/a%2Fb", "//x//y", "/a;b=1", "/%7Euser", "/?a;b&c=%zz", "/x?", "/ümlaut", "/a+b?q=a+b&&"} {
		for prefix, stripped := range map[string]bool{"": false, "/app": true, "/kept": false} {
			conn := dial(t, p)
			sent, want := prefix+target, prefix+target
			if stripped {
				want = strings.ReplaceAll(target, "//", "/") // what is left of a clean path
			}
			if strings.Contains(target, "ü") {
				continue // not an URI; what answers it is for the forwarding core
			}
			fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x.test\r\nConnection: close\r\n\r\n", sent)
			answer, err := io.ReadAll(conn)
			must(t, err)
			if _, body, _ := strings.Cut(string(answer), "\r\n\r\n"); !strings.Contains(body, want) {
				t.Errorf("%s arrived as %q, want %q", sent, body, want)
			}
		}
	}
}

// Trap 41: whatever can be deployed can be reached.
func TestTrafficFlowsToEveryKindOfTarget(t *testing.T) {
	p := startProxy(t)
	answer := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) })
	}
	socket := filepath.Join(p.Dir, "app.sock")
	unix, err := net.Listen("unix", socket)
	must(t, err)
	unixServer := &httptest.Server{Listener: unix, Config: &http.Server{Handler: answer("unix")}}
	unixServer.Start()
	defer unixServer.Close()

	h2c := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "h2c over "+r.Proto)
	}))
	h2c.Config.Protocols = new(http.Protocols)
	h2c.Config.Protocols.SetUnencryptedHTTP2(true)
	h2c.Start()
	defer h2c.Close()

	targets := map[string]string{"unix": "unix/" + socket, "h2c over HTTP/2.0": "h2c://" + h2c.Listener.Addr().String()}
	if v6, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		server := &httptest.Server{Listener: v6, Config: &http.Server{Handler: answer("v6")}}
		server.Start()
		defer server.Close()
		targets["v6"] = v6.Addr().String()
	} else {
		t.Logf("not tried: IPv6 is off on this machine (%v)", err)
	}
	for want, target := range targets {
		deploy(t, p, api.DeployRequest{Service: "x", Targets: []string{target}})
		if resp, body := get(t, p, "", "/"); body != want {
			t.Errorf("%s: %s %q", target, resp.Status, body)
		}
	}
}

// Trap 43: an app that checks its host is healthy without any flags.
func TestAppThatChecksItsHostIsHealthy(t *testing.T) {
	p := startProxy(t)
	strict := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "app.example.com" {
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	defer strict.Close()
	deploy(t, p, api.DeployRequest{Targets: []string{strict.Listener.Addr().String()}, Hosts: []string{"app.example.com"}})
}

// Trap 42.
func TestRedirectIsNotHealthyAndTheMessageShowsWhereItPointed(t *testing.T) {
	p := startProxy(t)
	redirecting := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "https://login.example.com/\u009b31m") // red, on some terminals
		w.WriteHeader(http.StatusFound)
	}))
	defer redirecting.Close()
	r := run(t, p, "deploy", redirecting.Listener.Addr().String(), "--deploy-timeout", "200ms")
	if r.Code != 3 || !strings.Contains(r.Stderr, "302 redirect to https://login.example.com/") {
		t.Errorf("%d %s", r.Code, r.Stderr)
	}
	if strings.Contains(r.Stderr, "\u009b") {
		t.Errorf("the app's escape sequence reaches the terminal: %q", r.Stderr)
	}
}

// Trap 24: a proxy in the environment is for the commands of the machine, not for
// the traffic that passes through this one.
func TestProxyInTheEnvironmentIsIgnored(t *testing.T) {
	p := newProxy(t)
	trap := startApp(t, "trap", nil)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"} {
		p.Env = append(p.Env, name+"=http://"+trap.addr())
	}
	must(t, p.Start())
	// Go never proxies loopback addresses, nor the name localhost, so the target
	// needs another name.
	hostname, err := os.Hostname()
	must(t, err)
	addrs, err := net.LookupHost(hostname)
	if err != nil || !net.ParseIP(addrs[0]).IsLoopback() {
		t.Skipf("skipped: the name of this machine, %s, is not one of a loopback address", hostname)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(addrs[0], "0"))
	must(t, err)
	direct := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.NotFoundHandler()}}
	direct.Start()
	defer direct.Close()
	target := net.JoinHostPort(hostname, itoa(listener.Addr().(*net.TCPAddr).Port))
	r := run(t, p, "deploy", target, "--deploy-timeout", "2s")
	if r.Code != 3 || !strings.Contains(r.Stderr, "404 Not Found") {
		t.Errorf("the health check did not reach the app, which answers 404: %d %s", r.Code, r.Stderr)
	}
	deploy(t, p, api.DeployRequest{Targets: []string{target}, Force: true})
	if resp, body := get(t, p, "", "/"); body != "404 page not found\n" || trap.requests.Load() != 0 {
		t.Errorf("%s %q, and the proxy of the environment got %d requests", resp.Status, body, trap.requests.Load())
	}
}
