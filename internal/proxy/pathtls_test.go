package proxy

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// A host has HTTPS or has not: a path of it, which another service serves, is as its root is.
func TestPathServicesFollowTheRootOfTheirHost(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t, withCertifier(newFakeCertifier()))
	app := testkit.StartApp(t, "app")
	deploy := func(service string, withTLS bool, prefix string, hosts ...string) {
		t.Helper()
		req := tlsRequestFor(service, app, hosts...)
		req.PathPrefixes, req.Reset = []string{prefix}, true
		if !withTLS {
			req.TLS = nil
		}
		e.deploy(req)
	}
	// want checks where plain HTTP goes, whether handshakes are answered, and what status tells.
	want := func(when, host string, redirected, handshake bool, sources ...api.TLSSource) {
		t.Helper()
		req := e.request(http.MethodGet, host, "/api/x?q", nil)
		resp, err := e.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		location := ""
		if redirected {
			location = "https://" + host + "/api/x?q"
		}
		if got := resp.Header.Get("Location"); got != location {
			t.Errorf("%s: %s goes to %q, want %q", when, host, got, location)
		}
		if _, ok := e.TLSName(host); ok != handshake {
			t.Errorf("%s: handshakes for %s are answered: %t", when, host, ok)
		}
		status, err := e.Service("api")
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(status.TLSFrom) != fmt.Sprint(sources) {
			t.Errorf("%s: status tells of %v, want %v", when, status.TLSFrom, sources)
		}
	}
	remove := func(service string) {
		t.Helper()
		if _, err := e.Remove(service, api.RemoveRequest{}); err != nil {
			t.Fatal(err)
		}
		e.settle()
	}

	deploy("api", false, "/api", "a.test")
	want("without a root", "a.test", false, false)
	deploy("web", true, "/", "a.test")
	want("with a root that has TLS", "a.test", true, true, api.TLSSource{Host: "a.test", Service: "web", Redirect: true})
	byName := e.request(http.MethodGet, "a.test", "/api/x", nil)
	byName.Header.Set("X-Test-Service", "api")
	if status, _ := e.do(byName); status != http.StatusOK {
		t.Errorf("for a handler that names its service, the host has no say: %d", status)
	}
	if status, _ := e.get("a.test", acmeChallenges+"token"); status == http.StatusMovedPermanently {
		t.Errorf("a challenge is redirected")
	}
	e.deployPatch(api.Patch{"service": "web", "tls": map[string]any{"redirect": false}})
	want("with a root that does not redirect", "a.test", false, true, api.TLSSource{Host: "a.test", Service: "web"})
	deploy("api", true, "/api", "a.test")
	want("with TLS of its own, below a root that does not redirect", "a.test", false, true, api.TLSSource{Host: "a.test", Service: "web"})
	e.deployPatch(api.Patch{"service": "web", "tls": nil})
	want("with TLS of its own, below a root without", "a.test", true, true)
	remove("web")
	want("with TLS of its own, without a root", "a.test", true, true)
	deploy("api", false, "/api", "a.test", "b.w.test")
	want("without both", "a.test", false, false)

	deploy("wildcard", true, "/", "*.w.test")
	source := api.TLSSource{Host: "b.w.test", Service: "wildcard", Redirect: true}
	want("with a wildcard root", "b.w.test", true, true, source)
	want("beside a wildcard root", "a.test", false, false, source)
	remove("wildcard")
	want("when the wildcard root is gone", "b.w.test", false, false)

	all := requestFor("all", app)
	all.TLS = &api.TLSRequest{OnDemandURL: "/ask"}
	e.deploy(all)
	source.Service = "all"
	want("with a root for all hosts", "b.w.test", true, true, api.TLSSource{Host: "a.test", Service: "all", Redirect: true}, source)
	deploy("plain", false, "/", "b.w.test")
	want("with a root without TLS", "b.w.test", false, false, api.TLSSource{Host: "a.test", Service: "all", Redirect: true})
}

// Nobody is sent to HTTPS before there is a certificate.
func TestPathServicesWaitForTheCertificateOfTheRoot(t *testing.T) {
	t.Parallel()
	c := newFakeCertifier()
	e := newTestEngine(t, withCertifier(c))
	app := testkit.StartApp(t, "app")
	path := requestFor("api", app)
	path.Hosts, path.PathPrefixes = []string{"a.test"}, []string{"/api"}
	e.deploy(path)
	root := tlsRequestFor("web", app, "a.test")
	root.TLS.Wait = new(false)
	e.deploy(root)
	e.wantAnswer("a.test", "/api/x", "app")
	root.TLS.Wait = nil
	e.deploy(root)
	if status, _ := e.get("a.test", "/api/x"); status != http.StatusMovedPermanently {
		t.Errorf("%d though there is a certificate", status)
	}
}
