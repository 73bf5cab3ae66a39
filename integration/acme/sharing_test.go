package acme

import (
	"crypto/x509"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Services that share a host share its certificate, and the last one takes it away.
func TestServicesOfAHostShareItsCertificate(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	host := newHost()
	s.deploy(t, startApp(t, named("web")).addr(), "--service", "web", "--host", host, "--tls").wantDone(t)
	s.deploy(t, startApp(t, named("api")).addr(), "--service", "api", "--host", host, "--path-prefix", "/api", "--tls").wantDone(t)
	if n := s.ca.ordersFor(host); n != 1 {
		t.Errorf("%d orders", n)
	}
	for path, want := range map[string]string{"/": "web", "/api/x": "api"} {
		if a := s.get(t, "https://"+host+path, s.ca.roots); a.body != want {
			t.Errorf("%s: %s", path, a)
		}
	}
	remove := func(service string) {
		r, err := s.Run("remove", service)
		must(t, err)
		if r.Code != 0 {
			t.Fatalf("removing %s: %s", service, r.Stderr)
		}
	}
	remove("web")
	if a := s.get(t, "https://"+host+"/api/x", s.ca.roots); a.body != "api" {
		t.Errorf("when the other is gone: %s", a)
	}
	old := s.leaf(t, host)
	s.ca.renew(old)
	waitFor(t, "the renewal for the service that is left", func() bool { return !s.leaf(t, host).Equal(old) })
	remove("api")
	if _, err := s.handshake(host, nil); err == nil {
		t.Error("both are gone, but a handshake succeeds")
	}
}

// A host goes from one issuer to another with the release, and back.
func TestIssuerIsSwappedWithTheRelease(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	host := newHost()
	addr := startApp(t, named("app")).addr()
	own, ownKey := newFiles(t, tomorrow, host)
	issuers := map[string]struct {
		flags []string
		roots func() *x509.CertPool
	}{
		"the authority": {[]string{"--tls"}, func() *x509.CertPool { return s.ca.roots }},
		"its own":       {[]string{"--tls=internal"}, func() *x509.CertPool { return s.internalRoots(t) }},
		"files":         {own.flags(), ownKey.Roots},
	}
	for _, name := range []string{"the authority", "its own", "files", "its own", "the authority", "files", "the authority"} {
		s.deploy(t, append(issuers[name].flags, addr, "--host", host)...).wantDone(t)
		s.wantBody(t, host, "app", issuers[name].roots())
		if x := s.status(t, host); len(x.Certificates) != 1 || x.Certificates[0].Error != "" {
			t.Errorf("%s: list says %+v", name, x)
		}
	}
	if n := s.ca.ordersFor(host); n != 1 {
		t.Errorf("%d orders", n)
	}
}

// Many clients may be the first for a name, and the one who knows may take a moment.
func TestConcurrentHandshakesNeedOneQuestionAndOneOrder(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	host := newHost()
	const clients = 30
	var waiting atomic.Int64
	o := startOracle(t, map[string]http.HandlerFunc{host: func(_ http.ResponseWriter, r *http.Request) {
		// All others are there by then, or will never be.
		for waiting.Load() < clients && r.Context().Err() == nil {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(200 * time.Millisecond)
	}})
	s.deploy(t, startApp(t, named("tenant")).addr(), "--service", "tenants", "--tls", "--tls-on-demand-url", o.URL).wantDone(t)
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			waiting.Add(1)
			if _, err := s.handshake(host, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := o.questions(host); n != 1 {
		t.Errorf("%d questions", n)
	}
	if n := s.ca.ordersFor(host); n != 1 {
		t.Errorf("%d orders", n)
	}
	old := s.leaf(t, host)
	s.ca.renew(old)
	waitFor(t, "the renewal", func() bool { return !s.leaf(t, host).Equal(old) })
}
