package acme

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// raw sends a request over plain HTTP as it is written, and returns the answer.
func (s *server) raw(t *testing.T, method, target, host string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", method, target, host)
	must(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	must(t, err)
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp, string(body)
}

// https returns the URL that a redirect to HTTPS has to name. A host that came without
// a port gets none.
func (s *server) https(host, target string) string { return "https://" + host + target }

// Trap 33: a redirect keeps the path and the query, byte for byte, with a prefix that
// is stripped for the app.
func TestRedirectToHTTPSKeepsTheWholeTarget(t *testing.T) {
	t.Parallel()
	s := common.Get(t)
	host := newHost()
	addr := startApp(t, named("app")).addr()
	s.deploy(t, addr, "--host", host, "--tls=internal").wantDone(t)
	s.deploy(t, addr, "--service", host+"-prefix", "--host", host, "--path-prefix", "/prefix", "--tls=internal").wantDone(t)
	for _, target := range []string{
		"/", "/?", "/x?q", "/prefix", "/prefix/x?q", "/prefix/?", "/prefix//x", "/a%2Fb%2fc", "/a;b?c;d", "/?a=%zz&b=%", "//", "//evil.test/x",
		"/..%2f", "/a/../b", "/a/./b", "/%E2%82%AC", "/{a}|\"<a>^`\\", "/a?https://x/?y", "/@a:b", "/a+b?q=a+b&&=&", "/.well-known/acme-challenges", "/.well-known/acme-challenge",
	} {
		for method, status := range map[string]int{"GET": 301, "HEAD": 301, "POST": 308, "PUT": 308, "DELETE": 308, "OPTIONS": 308, "QUERY": 308} {
			resp, _ := s.raw(t, method, target, host)
			if got, want := resp.Header.Get("Location"), s.https(host, target); resp.StatusCode != status || got != want {
				t.Errorf("%s %s: %d to %q, want %d to %q", method, target, resp.StatusCode, got, status, want)
			}
		}
	}
	for named, want := range map[string]string{
		host + ":80":              s.https(host, "/x"),
		strings.ToUpper(host):     s.https(strings.ToUpper(host), "/x"),
		host + ":" + s.httpPort(): s.https(fmt.Sprintf("%s:%d", host, s.HTTPSPort), "/x"),
	} {
		if resp, _ := s.raw(t, "GET", "/x", named); !strings.EqualFold(resp.Header.Get("Location"), want) {
			t.Errorf("Host %s: to %q, want %q", named, resp.Header.Get("Location"), want)
		}
	}
	// In absolute form, as proxies ask.
	if resp, _ := s.raw(t, "GET", "http://"+host+"/prefix/x?q", host); resp.Header.Get("Location") != s.https(host, "/prefix/x?q") {
		t.Errorf("absolute form: to %q", resp.Header.Get("Location"))
	}
}

func (s *server) httpPort() string { return fmt.Sprint(s.HTTPPort) }

// --tls-redirect=false serves over both.
func TestRedirectToHTTPSCanBeTurnedOff(t *testing.T) {
	t.Parallel()
	s := common.Get(t)
	host := newHost()
	addr := startApp(t, named("app")).addr()
	s.deploy(t, addr, "--host", host, "--tls=internal", "--tls-redirect=false").wantDone(t)
	if resp, body := s.raw(t, "GET", "/x", host); resp.StatusCode != http.StatusOK || body != "app" {
		t.Errorf("%s %s", resp.Status, body)
	}
	s.wantBody(t, host, "app", s.internalRoots(t))
	s.deploy(t, addr, "--host", host, "--tls-redirect=true").wantDone(t)
	if resp, _ := s.raw(t, "GET", "/x", host); resp.StatusCode != http.StatusMovedPermanently {
		t.Errorf("turned on by the next deploy: %s", resp.Status)
	}
}

// Clients come to the canonical host in one hop, whatever they begin with.
func TestCanonicalHostIsReachedInOneHop(t *testing.T) {
	t.Parallel()
	s := common.Get(t)
	host := newHost()
	www := "www." + host
	s.deploy(t, startApp(t, named("app")).addr(), "--host", host, "--host", www, "--canonical-host", host, "--tls=internal").wantDone(t)
	want := s.https(host, "/a%2Fb?c;d")
	for _, from := range []string{host, www} {
		if resp, _ := s.raw(t, "GET", "/a%2Fb?c;d", from); resp.StatusCode != http.StatusMovedPermanently || resp.Header.Get("Location") != want {
			t.Errorf("http://%s: %s to %q, want %q", from, resp.Status, resp.Header.Get("Location"), want)
		}
	}
	plain := newHost()
	s.deploy(t, startApp(t, named("app")).addr(), "--host", plain, "--host", "www."+plain, "--canonical-host", plain).wantDone(t)
	if resp, _ := s.raw(t, "POST", "/x?q", "www."+plain+":8080"); resp.StatusCode != http.StatusPermanentRedirect || resp.Header.Get("Location") != "http://"+plain+":8080/x?q" {
		t.Errorf("without TLS: %s to %q", resp.Status, resp.Header.Get("Location"))
	}
	eachProtocol(t, func(t *testing.T, protocol string) {
		c := s.client(t, protocol, s.internalRoots(t))
		for method, status := range map[string]int{"GET": 301, "POST": 308} {
			a, err := ask(c, method, "https://"+www+"/x?q")
			must(t, err)
			if got := a.Header.Get("Location"); a.StatusCode != status || got != "https://"+host+"/x?q" {
				t.Errorf("%s https://%s: %s to %q", method, www, a.Status, got)
			}
		}
		a, err := ask(c, "GET", "https://"+host+"/x?q")
		must(t, err)
		if a.body != "app" {
			t.Errorf("https://%s: %s", host, a)
		}
	})
}

// Trap 50: what the authority asks for by plain HTTP is answered there, also while
// everything else is redirected.
func TestChallengeIsNotRedirected(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	s.ca.offer("http-01")
	host := newHost()
	a := startApp(t, named("app"))
	s.deploy(t, a.addr(), "--host", host, "--tls").wantDone(t)
	answers := make(chan string, 10)
	s.ca.beforeValidation(func(token string) {
		req, err := http.NewRequest(http.MethodGet, s.URL()+"/.well-known/acme-challenge/"+token, nil)
		if err == nil {
			req.Host = host
			var got answer
			if got, err = do(&http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, req); err == nil {
				answers <- fmt.Sprint(got.StatusCode, " ", strings.HasPrefix(got.body, token+"."))
			}
		}
		if err != nil {
			answers <- err.Error()
		}
	})
	old := s.leaf(t, host)
	s.ca.renew(old)
	if got := arrive(t, "the challenge", answers); got != "200 true" {
		t.Errorf("the token is answered with %s", got)
	}
	waitFor(t, "the renewal", func() bool { return !s.leaf(t, host).Equal(old) })
	if resp, _ := s.raw(t, "GET", "/", host); resp.StatusCode != http.StatusMovedPermanently {
		t.Errorf("meanwhile, / is answered with %s", resp.Status)
	}
	// A token that nobody knows may be one of the app's own.
	if resp, body := s.raw(t, "GET", "/.well-known/acme-challenge/unknown", host); resp.StatusCode/100 == 3 {
		t.Errorf("an unknown token: %s %q to %q", resp.Status, body, resp.Header.Get("Location"))
	}
}
