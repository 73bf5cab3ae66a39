package proxy

import (
	"bufio"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
)

// redirectsOf returns a function that says where a request to a release goes.
func redirectsOf(t *testing.T, req api.DeployRequest, from forward.Sender) func(requestLine, host string, secure bool, header ...string) string {
	t.Helper()
	req.Targets, req.Service = []string{"web:3000"}, "app"
	s, err := req.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	e := NewEngine(EngineOptions{})
	r := e.newRelease(s)
	r.certified.Store(true)
	return func(requestLine, host string, secure bool, header ...string) string {
		t.Helper()
		head := requestLine + " HTTP/1.1\r\nHost: " + host + "\r\n" + strings.Join(header, "\r\n") + "\r\n\r\n"
		in, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
		if err != nil {
			t.Fatal(err)
		}
		if secure {
			in.TLS = &tls.ConnectionState{}
		}
		return e.redirect(r, "/", &visitor{in: in, client: from})
	}
}

// Traps 32 and 33: a redirect keeps the path, with its prefix, and the query as they
// were sent, byte for byte.
func TestRedirectToHTTPSKeepsTheBytesOfThePath(t *testing.T) {
	to := redirectsOf(t, api.DeployRequest{Hosts: []string{"a.test"}, PathPrefixes: []string{"/prefix"}, TLS: &api.TLSRequest{}}, forward.Sender{})
	for _, target := range []string{"/prefix/x?q", "/prefix/", "/", "/a%2Fb//c?x;y=%zz&z=|", "/?", "/%E2%98%83?%E2", "//evil.test/x", "/a?b?c=http://x"} {
		if got := to("GET "+target, "a.test", false); got != "https://a.test"+target {
			t.Errorf("GET %s goes to %q", target, got)
		}
	}
	for target, want := range map[string]string{
		"http://a.test/x?q":  "https://a.test/x?q",
		"http://a.test?q":    "https://a.test/?q",
		"http://other.test/": "https://other.test/",
	} {
		if got := to("GET "+target, "a.test", false); got != want {
			t.Errorf("GET %s goes to %q, want %q", target, got, want)
		}
	}
}

func TestRedirectGoesOnlyWhereItHasTo(t *testing.T) {
	hosts := []string{"a.test", "www.a.test"}
	secured := redirectsOf(t, api.DeployRequest{Hosts: hosts, TLS: &api.TLSRequest{}, CanonicalHost: "a.test"}, forward.Sender{Ports: forward.Ports{HTTP: 8080, HTTPS: 8443}})
	unsecured := redirectsOf(t, api.DeployRequest{Hosts: hosts, CanonicalHost: "a.test"}, forward.Sender{Ports: forward.Ports{HTTP: 8080, HTTPS: 8443}})
	optional := redirectsOf(t, api.DeployRequest{Hosts: hosts, TLS: &api.TLSRequest{Redirect: new(false)}, CanonicalHost: "a.test"}, forward.Sender{})
	trusting := redirectsOf(t, api.DeployRequest{Hosts: hosts, TLS: &api.TLSRequest{}}, forward.Sender{Trusted: true})
	nowhere := redirectsOf(t, api.DeployRequest{Hosts: hosts, TLS: &api.TLSRequest{}, CanonicalHost: "a.test"}, forward.Sender{Ports: forward.Ports{HTTP: 8080, HTTPS: -1}})
	address := redirectsOf(t, api.DeployRequest{Hosts: []string{"::1"}, TLS: &api.TLSRequest{}}, forward.Sender{Ports: forward.Ports{HTTP: 8080, HTTPS: 8443}})
	https := "X-Forwarded-Proto: https"
	for name, tc := range map[string]struct{ got, want string }{
		"http":                             {secured("GET /x", "a.test:8080", false), "https://a.test:8443/x"},
		"http, other host, in one hop":     {secured("GET /x", "www.a.test:8080", false), "https://a.test:8443/x"},
		"https":                            {secured("GET /x", "A.test.:8443", true), ""},
		"https, other host":                {secured("GET /x", "www.a.test:8443", true), "https://a.test:8443/x"},
		"challenge":                        {secured("GET /.well-known/acme-challenge/t", "www.a.test", false), ""},
		"what looks like a challenge":      {secured("GET /.well-known/acme-challenge/../x", "a.test", false), "https://a.test/.well-known/acme-challenge/../x"},
		"CONNECT":                          {secured("CONNECT a.test:443", "a.test:443", false), ""},
		"OPTIONS *":                        {secured("OPTIONS *", "a.test", false), ""},
		"no TLS":                           {unsecured("GET /x", "a.test", false), ""},
		"no TLS, other host":               {unsecured("GET /x", "www.a.test:8080", false), "http://a.test:8080/x"},
		"optional TLS":                     {optional("GET /x", "a.test", false), ""},
		"optional TLS, other host":         {optional("GET /x", "www.a.test", false), "http://a.test/x"},
		"https before a trusted proxy":     {trusting("GET /x", "a.test", false, https), ""},
		"https before two trusted proxies": {trusting("GET /x", "a.test", false, "X-Forwarded-Proto: https, http"), ""},
		"http before two trusted proxies":  {trusting("GET /x", "a.test", false, "X-Forwarded-Proto: http, https"), "https://a.test/x"},
		"no HTTPS":                         {nowhere("GET /x", "a.test", false), ""},
		"no HTTPS, other host":             {nowhere("GET /x", "www.a.test", false), "http://a.test/x"},
		"http before a trusted proxy":      {trusting("GET /x", "a.test", false), "https://a.test/x"},
		"https before anybody else":        {secured("GET /x", "a.test", false, https), "https://a.test/x"},
		"address":                          {address("GET /x", "[::1]:8080", false), "https://[::1]:8443/x"},
		"https before anybody else, 8080":  {secured("GET /x", "a.test:8080", false, https), "https://a.test:8443/x"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: redirected to %q, want %q", name, tc.got, tc.want)
		}
	}
}

// Browsers remember where they were sent: a port that only the proxy knows of must not be
// in there.
func TestRedirectNamesThePortThatTheClientReaches(t *testing.T) {
	forwarded := forward.Ports{HTTP: 8080, HTTPS: 8443}
	public := forward.Ports{HTTP: 8080, HTTPS: 8443, PublicHTTPS: 9443}
	standard := forward.Ports{HTTP: 8080, HTTPS: 8443, PublicHTTPS: 443}
	for _, tc := range []struct {
		ports      forward.Ports
		host, want string
	}{
		{forwarded, "a.test", "a.test"},
		{forwarded, "a.test:", "a.test"},
		{forwarded, "a.test:80", "a.test"},
		{forwarded, "a.test:8080", "a.test:8443"},
		{forwarded, "a.test:9000", "a.test:8443"},
		{forwarded, "[::1]", "[::1]"},
		{forwarded, "[::1]:8080", "[::1]:8443"},
		{public, "a.test", "a.test:9443"},
		{public, "a.test:8080", "a.test:9443"},
		{public, "a.test:9000", "a.test:9443"},
		{standard, "a.test:9000", "a.test"},
		{forward.Ports{}, "a.test", "a.test"},
		{forward.Ports{}, "a.test:9000", "a.test"},
		{forward.Ports{HTTP: 80, HTTPS: 443}, "a.test:80", "a.test"},
		{forward.Ports{HTTP: 80, HTTPS: 8443}, "a.test", "a.test:8443"}, // nothing is in between
		{forward.Ports{HTTPS: 8443}, "a.test:80", "a.test:8443"},
	} {
		hosts := []string{"a.test", "::1", "www.a.test"}
		to := redirectsOf(t, api.DeployRequest{Hosts: hosts, TLS: &api.TLSRequest{}}, forward.Sender{Ports: tc.ports})
		if got := to("GET /x", tc.host, false); got != "https://"+tc.want+"/x" {
			t.Errorf("%+v: %s goes to %q", tc.ports, tc.host, got)
		}
		to = redirectsOf(t, api.DeployRequest{Hosts: hosts, TLS: &api.TLSRequest{}, CanonicalHost: "a.test"}, forward.Sender{Ports: tc.ports})
		if got := to("GET /x", "www.a.test"+portOf(tc.host), false); got != "https://a.test"+portOf(tc.want)+"/x" {
			t.Errorf("%+v: www.a.test%s goes to %q", tc.ports, portOf(tc.host), got)
		}
	}
}

func TestRedirectKeepsMethodsThatHaveBodies(t *testing.T) {
	for method, want := range map[string]int{"GET": 301, "HEAD": 301, "POST": 308, "PUT": 308, "DELETE": 308} {
		w := httptest.NewRecorder()
		writeRedirect(w, httptest.NewRequest(method, "/", nil), "https://a.test/")
		if w.Code != want || w.Header().Get("Location") != "https://a.test/" {
			t.Errorf("%s: %d to %q, want %d", method, w.Code, w.Header().Get("Location"), want)
		}
	}
}
