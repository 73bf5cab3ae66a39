package clients

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
)

// lineApp answers with the request line that it got.
func lineApp(t *testing.T) *rawApp {
	t.Helper()
	return startRawApp(t, serveRaw(func(r *rawRequest) string { return ok(r.line) }))
}

// Trap 32: what a path or a query means is between the client and the app. Every
// byte of it arrives, but for a prefix that is stripped, and for what is resolved with it.
func TestRequestTargetIsPassedOnByteForByte(t *testing.T) {
	t.Parallel()
	targets := []string{
		"/", "/?", "/x?", "/a;b?c;d=1;e", "/?a=%zz&b=%&c=%1", "/?a;b&c=%zz", "/a%2Fb%2fc", "//", "//x", "//x/y//", "//x|y", "//x:80/y",
		"/a/../b", "/a/./b", "/..", "/../", "/.", "/a/..%2f..%2fb", "/a/%2e%2e/b", "/a|b", "/{a}", "/a^b`c", "/a\\b", "/\"a\"", "/<a>", "/[a]",
		"/%7Euser/~user", "/%E2%82%AC", "/%00", "/%0d%0a", "/a+b?q=a+b&&=&", "/?q=http://x/?y", "/:a", "/@a:b@c", "/*", "/a?b?c",
	}
	// What a target gets without its prefix is what is left of the clean path. One that leads
	// out of the prefix is not for its service.
	cleaned := map[string]string{
		"//": "/", "//x": "/x", "//x/y//": "/x/y/", "//x|y": "/x|y", "//x:80/y": "/x:80/y", "/a/../b": "/b", "/a/./b": "/a/b",
		"/..": "/app/..", "/../": "/app/../", "/.": "/", "/a/%2e%2e/b": "/b",
	}
	// What is no valid escape may be refused, but never mended.
	invalid := []string{"/%", "/%zz", "/%2"}
	eachProtocol(t, func(t *testing.T, protocol string) {
		a := lineApp(t)
		x := newSite(t, plain.Get(t), a.addr)
		x.deploy(t, api.DeployRequest{Service: x.host + "-stripped", Targets: []string{a.addr}, PathPrefixes: []string{"/app"}})
		keep := false
		x.deploy(t, api.DeployRequest{Service: x.host + "-kept", Targets: []string{a.addr}, PathPrefixes: []string{"/kept"}, StripPathPrefix: &keep})
		for _, target := range slices.Concat(targets, invalid) {
			for prefix, arrives := range map[string]string{"": "", "/app": "", "/kept": "/kept"} {
				got := x.askWire(t, protocol, "GET", prefix+target, "")
				if slices.Contains(invalid, target) && got.refused(http.StatusBadRequest) {
					continue
				}
				want := "GET " + arrives + target + " HTTP/1.1"
				if clean, ok := cleaned[target]; ok && prefix == "/app" {
					want = "GET " + clean + " HTTP/1.1"
				}
				if got.body != want {
					t.Errorf("%s%s: %s instead of %q", prefix, target, got, want)
				}
			}
		}
		for sent, want := range map[string]string{"/app": "/", "/app?": "/?", "/app?a;b": "/?a;b", "/app/": "/", "/apple": "/apple", "/app%2Fx": "/app%2Fx"} {
			if got := x.askWire(t, protocol, "GET", sent, ""); got.body != "GET "+want+" HTTP/1.1" {
				t.Errorf("%s: %s", sent, got)
			}
		}
	})
}

// A path leads to a service however it is written: no detour through the prefix of another
// one gets around what that one asks of its clients, or reaches a path that it does not have.
func TestPathsAreMatchedClean(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol string) {
		answersAs := func(name string) string {
			return startRawApp(t, serveRaw(func(r *rawRequest) string { return ok(name + " " + r.line) })).addr
		}
		x := newSite(t, plain.Get(t), answersAs("root"))
		x.deploy(t, api.DeployRequest{Service: x.host + "-x", Targets: []string{answersAs("x")}, PathPrefixes: []string{"/x"}})
		x.deploy(t, api.DeployRequest{Service: x.host + "-y", Targets: []string{answersAs("y")}, PathPrefixes: []string{"/y"}, StripPathPrefix: new(false)})
		for target, want := range map[string]string{
			"/x/../page":          "root GET /x/../page",
			"/x/%2e%2E/page":      "root GET /x/%2e%2E/page",
			"/page/../x/page?a//": "x GET /page?a//",
			"//x/page":            "x GET /page",
			"//x//page":           "x GET /page",
			"/x//evil.test/":      "x GET /evil.test/",
			"/x/%2Fevil.test":     "x GET /%2Fevil.test",
			"/x/a%2f..%2fb/./c":   "x GET /a%2f..%2fb/c",
			"/x/..%2fy":           "x GET /..%2fy",
			"/x/%252e%252e/y":     "x GET /%252e%252e/y",
			"/./x":                "x GET /",
			"/x/.":                "x GET /",
			"/x/../y/./a//b":      "y GET /x/../y/./a//b",
			"//y":                 "y GET //y",
			"/x/.well-known/|":    "x GET /.well-known/|",
			"//evil.test/x":       "root GET //evil.test/x",
		} {
			if got := x.askWire(t, protocol, "GET", target, ""); got.body != want+" HTTP/1.1" {
				t.Errorf("%s: %s, want %q", target, got, want)
			}
		}
	})
}

// Trap 72: what is no request to an application is refused, and none sees it.
func TestUnforwardableTargetsAreRefused(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol string) {
		a := startApp(t, named("app"))
		x := newSite(t, plain.Get(t), a.addr())
		for _, target := range []string{"*", "/ümlaut", "/a?ü", "/\x80", "/a\x7fb", "", "nopath", "x:y", "?", "https:nopath", "/a#b", "/?a=b#c", "/#"} {
			if target == "" && (protocol == h1 || protocol == h1TLS) {
				continue // would be another request
			}
			got := x.askWire(t, protocol, "GET", target, "")
			if !got.refused(http.StatusBadRequest) {
				t.Errorf("GET %q: %s", target, got)
			}
		}
		if n := a.requests.Load(); n > 0 {
			t.Errorf("the app was sent %d requests", n)
		}
	})
}

// CONNECT asks for a tunnel, which is nothing that an application has to offer.
func TestConnectIsRefused(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol string) {
		a := startApp(t, named("app"))
		x := newSite(t, plain.Get(t), a.addr())
		var got wireAnswer
		switch w := x.dialWire(t, protocol).(type) {
		case *h1Wire:
			w.method = "CONNECT"
			w.write("CONNECT " + x.host + ":443 HTTP/1.1\r\nHost: " + x.host + ":443\r\n\r\n")
			got = w.answer()
		case *h2Wire:
			w.headers(false, field{":method", "CONNECT"}, field{":authority", x.host + ":443"})
			got = w.answer()
		case *h3Wire:
			w.headers(false, field{":method", "CONNECT"}, field{":authority", x.host + ":443"})
			got = w.answer()
		}
		if got.status/100 == 2 || got.status >= 500 && got.status != http.StatusNotImplemented || a.requests.Load() > 0 {
			t.Errorf("%s, and the app got %d requests", got, a.requests.Load())
		}
	})
}

// OPTIONS * is about the server: it is answered, or passed on as it is.
func TestOptionsOfTheServerMakesSense(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol string) {
		got := newSite(t, plain.Get(t), lineApp(t).addr).askWire(t, protocol, "OPTIONS", "*", "")
		if got.err != nil || got.status >= 500 || got.body != "" && strings.HasPrefix(got.body, "OPTIONS") && got.body != "OPTIONS * HTTP/1.1" {
			t.Errorf("%s", got)
		}
	})
}

// A target that names its host wins over the Host header (RFC 9112, section 3.2.2),
// and the app gets one that does not, with the host that counted.
func TestAbsoluteTargetNamesTheHost(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{h1, h1TLS} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			a := startRawApp(t, serveRaw(func(r *rawRequest) string { return ok(fmt.Sprintf("%s %s", r.line, r.header("Host"))) }))
			x := newSite(t, plain.Get(t), a.addr)
			for target, want := range map[string]string{
				"http://" + x.host + "/a%2Fb?c;d":    "GET /a%2Fb?c;d HTTP/1.1 [" + x.host + "]",
				"http://" + x.host:                   "GET / HTTP/1.1 [" + x.host + "]",
				"http://" + x.host + "?q":            "GET /?q HTTP/1.1 [" + x.host + "]",
				"http://nobody." + domain + "/":      "",
				"http://user:pw@" + x.host + "/home": "",
			} {
				w := x.dialH1(t, protocol)
				w.host = x.host
				w.begin("GET", target, false, field{"Connection", "close"})
				got := w.answer()
				if want != "" && got.body != want || want == "" && strings.HasPrefix(got.body, "GET /home HTTP/1.1 [user") {
					t.Errorf("%s: %s, want %q", target, got, want)
				}
				if strings.Contains(target, "nobody") && got.status != http.StatusNotFound && got.status != http.StatusMisdirectedRequest {
					t.Errorf("%s: %s, though no such host is deployed", target, got)
				}
			}
		})
	}
}

// Trap 72: clients of HTTP/1.0 know neither informational answers nor chunks.
func TestHTTP10ClientsGetWhatTheyUnderstand(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{h1, h1TLS} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			a := startApp(t, func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusEarlyHints)
				w.WriteHeader(http.StatusProcessing)
				body, _ := io.ReadAll(r.Body)
				_, _ = w.Write(body)
				_ = http.NewResponseController(w).Flush()
				_, _ = io.WriteString(w, " came over "+r.Proto)
			})
			x := newSite(t, plain.Get(t), a.addr())
			w := x.dialH1(t, protocol)
			w.write("POST / HTTP/1.0\r\nHost: " + x.host + "\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody")
			all, err := io.ReadAll(w.in)
			must(t, err)
			head, body, _ := strings.Cut(string(all), "\r\n\r\n")
			if !strings.HasPrefix(head, "HTTP/1.0 200") && !strings.HasPrefix(head, "HTTP/1.1 200") || body != "body came over HTTP/1.1" {
				t.Errorf("%s", all)
			}
			if strings.Contains(strings.ToLower(head), "transfer-encoding") {
				t.Errorf("chunks for HTTP/1.0:\n%s", all)
			}
		})
	}
}
