package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// TestGoodCertificateIsRememberedUntilItExpires and no longer, and no certificate of another
// authority is taken for it.
func TestGoodCertificateIsRememberedUntilItExpires(t *testing.T) {
	ours, others := testkit.NewAuthority(t, "ours", testTime.Add(time.Hour)), testkit.NewAuthority(t, "others", testTime.Add(time.Hour))
	shown := func(c tls.Certificate) *tls.ConnectionState {
		leaf, err := x509.ParseCertificate(c.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}
	}
	good, strange := shown(ours.Issue(testTime.Add(30*time.Second), "ada")), shown(others.Issue(testTime.Add(time.Hour), "ada"))
	for _, mode := range api.ClientAuths() {
		clients := trustedClientsOf(&api.Spec{Options: api.Options{ClientCA: string(ours.PEM), ClientAuth: mode}})
		for _, tt := range []struct {
			shown *tls.ConnectionState
			at    time.Duration
			good  bool
		}{
			{good, 0, true},
			{good, 29 * time.Second, true},
			{good, 31 * time.Second, false},
			{strange, 0, false},
			{strange, time.Second, false},
			{nil, 0, mode == api.ClientAuthOptional},
			{&tls.ConnectionState{}, 0, mode == api.ClientAuthOptional},
			{good, time.Second, true},
		} {
			r := httptest.NewRequest("GET", "/", nil)
			r.TLS = tt.shown
			if err := clients.check(r, testTime.Add(tt.at)); (err == nil) != tt.good || err != nil && !errors.Is(err, ErrClientCertificate) {
				t.Errorf("%s, after %s: %v, want it to be good: %t", mode, tt.at, err, tt.good)
			}
		}
		for i := range 2 * maxKnownClients {
			clients.remember([32]byte{byte(i), byte(i >> 8)}, good.PeerCertificates[0], testTime)
		}
		if len(clients.known) > maxKnownClients {
			t.Errorf("%d certificates are remembered", len(clients.known))
		}
	}
	if trustedClientsOf(new(api.Spec)) != nil {
		t.Error("a service without authorities has clients to check")
	}
}

// TestClientsAreAskedForCertificatesForTheirNamesAlone: those that a service has which wants some.
func TestClientsAreAskedForCertificatesForTheirNamesAlone(t *testing.T) {
	e := newTestEngine(t)
	app := testkit.StartApp(t, "app")
	authority := testkit.NewAuthority(t, "ours", time.Now().Add(time.Hour))
	files := newPEMFiles(t, "closed.test", "*.wild.test")
	closed := requestFor("closed", app)
	closed.Hosts, closed.ClientCA = []string{"closed.test", "*.wild.test"}, string(authority.PEM)
	closed.TLS = &api.TLSRequest{CertificatePath: files.certificate, PrivateKeyPath: files.key}
	e.deploy(closed)
	open := requestFor("open", app)
	open.Hosts = []string{"open.test"}
	e.deploy(open)
	for name, want := range map[string]bool{"closed.test": true, "CLOSED.test": true, "a.wild.test": true, "open.test": false, "other.test": false, "": false, "wild.test": false, "a.b.wild.test": false} {
		if got := e.AsksForCertificate(name); got != want {
			t.Errorf("%q: clients are asked: %t", name, got)
		}
	}
}
