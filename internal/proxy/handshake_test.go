package proxy

import (
	"fmt"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

func TestHandshakesFindTheirService(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t, withCertifier(newFakeCertifier()))
	a := testkit.StartApp(t, "a")
	deploy := func(service string, tls bool, prefix string, hosts ...string) {
		req := tlsRequestFor(service, a, hosts...)
		if !tls {
			req.TLS = nil
		}
		if prefix != "" {
			req.PathPrefixes = []string{prefix}
		}
		e.deploy(req)
	}
	deploy("exact", true, "", "a.test", "192.0.2.1")
	deploy("wildcard", true, "", "*.b.test")
	deploy("plain-below-the-wildcard", false, "", "plain.b.test")
	deploy("plain", false, "", "c.test")
	deploy("api", true, "/api", "c.test")
	deploy("api-of-a", true, "/api", "a.test")
	deploy("plain-for-all", false, "")
	for name, want := range map[string]string{
		"a.test": "exact a.test", "A.Test.": "exact a.test", "192.0.2.1": "exact 192.0.2.1",
		"x.b.test": "wildcard *.b.test", "X.B.TEST": "wildcard *.b.test", "*.b.test": "wildcard *.b.test",
		"c.test": "api c.test",
		// Hosts that were deployed without TLS, or not at all.
		"plain.b.test": "", "b.test": "", "y.x.b.test": "", "unknown.test": "", "": "", "*.unknown.test": "", "*.test": "",
	} {
		got := ""
		if site, ok := e.TLSName(name); ok {
			got = site.Service + " " + site.Host
		}
		if got != want {
			t.Errorf("a handshake for %q is answered as %q, want %q", name, got, want)
		}
	}
}

// Trap 51: clients without a server name get the certificate of the first host.
func TestHandshakesWithoutANameAreAnswered(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t, withCertifier(newFakeCertifier()))
	a := testkit.StartApp(t, "a")
	want := func(want string) {
		t.Helper()
		if site, _ := e.DefaultTLSName(); site.Host != want {
			t.Errorf("answered as %q, want %q", site.Host, want)
		}
	}
	want("")
	e.deploy(requestFor("plain", a))
	want("")
	e.deploy(tlsRequestFor("w", a, "*.a.test"))
	want("*.a.test")
	e.deploy(tlsRequestFor("b", a, "b.test", "c.test"))
	want("b.test")
	// With TLS off, its routes stay: it is a moment until that is noticed.
	e.deployPatch(api.Patch{"service": "b", "tls": nil})
	want("")
	known := *e.defaultSite.Load()
	known.until = time.Now()
	e.defaultSite.Store(&known)
	want("*.a.test")
}

// Trap 63: a service whose certificate files cannot be read stands back for the others,
// on its own host and where no name is given.
func TestServiceWithoutItsCertificateStandsBack(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t, withCertifier(newFakeCertifier()))
	a := testkit.StartApp(t, "a")
	files := newPEMFiles(t, "a.test")
	broken := requestFor("broken", a)
	broken.Hosts, broken.TLS = []string{"a.test"}, files.request()
	e.deploy(broken)
	second := tlsRequestFor("api", a, "a.test")
	second.PathPrefixes = []string{"/api"}
	e.deploy(second)
	e.deploy(tlsRequestFor("b", a, "b.test"))
	want := func(host, service string) {
		t.Helper()
		site, ok := e.DefaultTLSName()
		if host != "" {
			site, ok = e.TLSName(host)
		}
		if !ok || site.Service != service {
			t.Errorf("a handshake for %q is answered by %q, %t, want %q", host, site.Service, ok, service)
		}
	}
	want("a.test", "broken")
	want("", "broken")
	e.table.Load().named["broken"].release().keyPair.current.Store(nil)
	want("a.test", "api")
	e.defaultSite.Store(nil)
	want("", "api")
	if _, err := e.Remove("api", api.RemoveRequest{}); err != nil {
		t.Fatal(err)
	}
	want("", "b")
	if site, ok := e.TLSName("a.test"); ok {
		t.Errorf("a handshake without any certificate is answered by %q", site.Service)
	}
}

func BenchmarkTLSName(b *testing.B) {
	for _, n := range []int{1, 10_000} {
		e := newTestEngine(b, withCertifier(newFakeCertifier()))
		for i := range n {
			name := fmt.Sprintf("h%d.test", i)
			d := e.start(api.DeployRequest{Targets: []string{"web:3000"}, Hosts: []string{name}, Force: true, TLS: &api.TLSRequest{}})
			if _, err := wait(b, d); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := e.TLSName("h0.test"); !ok {
					b.Fatal("there is no site")
				}
			}
		})
	}
}
