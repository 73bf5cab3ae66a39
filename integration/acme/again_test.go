package acme

import (
	"crypto/x509"
	"net/http"
	"testing"
	"time"
)

// What was deployed once, removed, and has expired since is obtained anew.
func TestRemovedHostIsDeployedAgain(t *testing.T) {
	t.Parallel()
	s := startServer(t, func(s *server) { s.options.lifetime = 4 * time.Second })
	host, addr := newHost(), startApp(t, named("app")).addr()
	s.deploy(t, addr, "--host", host, "--tls").wantDone(t)
	leaf := s.leaf(t, host)
	_, err := s.Run("remove", host)
	must(t, err)
	// It is valid to the end of its last second.
	waitFor(t, "the end of the certificate", func() bool { return time.Since(leaf.NotAfter) > time.Second })
	s.deploy(t, addr, "--host", host, "--tls").wantDone(t)
	// On a busy machine, this one may have expired as well before it is looked at.
	state, err := s.handshake(host, nil)
	must(t, err)
	again, intermediates := state.PeerCertificates[0], x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		intermediates.AddCert(c)
	}
	if again.Equal(leaf) {
		t.Error("the host has its old certificate")
	}
	if _, err := again.Verify(x509.VerifyOptions{Roots: s.ca.roots, Intermediates: intermediates, DNSName: host, CurrentTime: again.NotBefore}); err != nil {
		t.Error(err)
	}
}

// An order in the background that has failed is tried again after a pause. A deploy that
// comes when the trouble is over does not wait for that.
func TestDeployDoesNotWaitForAPauseInTheBackground(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	host, addr := newHost(), startApp(t, named("app")).addr()
	s.ca.refuse(func(string) *problem {
		return &problem{Type: "urn:ietf:params:acme:error:dns", Detail: "NXDOMAIN", Status: 400}
	})
	s.deploy(t, addr, "--host", host, "--tls", "--tls-wait=false").wantDone(t)
	waitFor(t, "the order to fail", func() bool {
		c := s.status(t, host).Certificates
		return len(c) > 0 && c[0].Error != ""
	})
	s.ca.refuse(nil)
	s.deploy(t, addr, "--host", host, "--tls").wantDone(t)
	s.wantBody(t, host, "app", s.ca.roots)
	if c := s.status(t, host).Certificates; c[0].Error != "" {
		t.Errorf("the failure that is over is still shown: %+v", c)
	}
}

// A proxy that is started without HTTPS sends nobody there, and orders nothing.
func TestWithoutHTTPSNobodyIsRedirected(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	host, addr := newHost(), startApp(t, named("app")).addr()
	s.deploy(t, addr, "--host", host, "--tls").wantDone(t)
	_, err := s.Stop(patience)
	must(t, err)
	s.HTTPSPort = 0
	must(t, s.Start())
	if a := s.get(t, "http://"+host+"/", nil); a.StatusCode != http.StatusOK || a.body != "app" {
		t.Errorf("HTTP is answered with %s to %q", a, a.Header.Get("Location"))
	}
	if n := s.ca.total(); n != 1 {
		t.Errorf("%d orders", n)
	}
}
