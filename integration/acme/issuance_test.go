package acme

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// The certificate is there before the switch, whichever challenge the authority
// offers: the first request over HTTPS is answered.
func TestDeployGetsTheCertificateBeforeTheSwitch(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	for _, challenge := range []string{"http-01", "tls-alpn-01"} {
		t.Run(challenge, func(t *testing.T) {
			s.ca.offer(challenge)
			host := newHost()
			d := s.deploy(t, startApp(t, named("first")).addr(), "--host", host, "--tls").wantDone(t)
			s.wantBody(t, host, "first", s.ca.roots)
			if !d.before("healthy", "certifying") || !d.before("certifying", "certified") || !d.before("certified", "switched") {
				t.Errorf("the events are %q", d.events())
			}
			if n := s.ca.ordersFor(host); n != 1 {
				t.Errorf("%d orders", n)
			}
			leaf := s.leaf(t, host)
			told := d.certified()[host]
			if !strings.Contains(told.Issuer, leaf.Issuer.CommonName) || told.NotAfter == nil || !told.NotAfter.Equal(leaf.NotAfter) || told.Error != "" {
				t.Errorf("the event tells of %+v, but the certificate is from %s and expires at %s", told, leaf.Issuer, leaf.NotAfter)
			}
			x := s.status(t, host)
			if !x.TLS || len(x.Certificates) != 1 || x.Certificates[0].Host != host || !strings.Contains(x.Certificates[0].Issuer, leaf.Issuer.CommonName) {
				t.Errorf("list says %+v", x)
			}
		})
	}
}

// An existing certificate is used at once: nobody is asked, not even whether the
// authority is there.
func TestDeployWithACertificateOrdersNone(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	host := newHost()
	s.deploy(t, startApp(t, named("v1")).addr(), "--host", host, "--tls").wantDone(t)
	leaf := s.leaf(t, host)
	s.ca.close()
	fastest := func(args ...string) time.Duration {
		least := time.Hour
		for range 3 {
			d := s.deploy(t, append(args, startApp(t, named("v2")).addr())...).wantDone(t)
			least = min(least, d.took)
		}
		return least
	}
	plain, withTLS := fastest("--host", newHost()), fastest("--host", host, "--tls")
	s.wantBody(t, host, "v2", s.ca.roots)
	if !s.leaf(t, host).Equal(leaf) {
		t.Error("the certificate has changed")
	}
	if n := s.ca.ordersFor(host); n != 1 {
		t.Errorf("%d orders", n)
	}
	t.Logf("the fastest deploy took %s, and %s without TLS", withTLS, plain)
	// Twice the time is for a machine that is busy with other tests.
	if withTLS > 2*plain+time.Second/2 {
		t.Errorf("the fastest deploy took %s, and %s without TLS", withTLS, plain)
	}
}

// A service for all hosts, with a certificate for whoever comes, does not stand in the
// way of the challenges.
func TestCatchAllServiceDoesNotSwallowChallenges(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	own, ownKey := newFiles(t, tomorrow, "*."+domain)
	everything := startApp(t, named("everything"))
	s.deploy(t, append(own.flags(), everything.addr(), "--service", "everything")...).wantDone(t)
	s.wantBody(t, "any."+domain, "everything", ownKey.Roots())
	before := everything.requests.Load()
	for _, challenge := range []string{"http-01", "tls-alpn-01"} {
		s.ca.offer(challenge)
		host := newHost()
		s.deploy(t, startApp(t, named(challenge)).addr(), "--host", host, "--tls").wantDone(t)
		s.wantBody(t, host, challenge, s.ca.roots)
		if n := s.ca.ordersFor(host); n != 1 {
			t.Errorf("%s: %d orders", challenge, n)
		}
	}
	if n := everything.requests.Load() - before; n > 0 {
		t.Errorf("the service for all hosts was sent %d requests", n)
	}
	s.wantBody(t, "any."+domain, "everything", ownKey.Roots())
}

// Every host of a service gets a certificate, and what is told on a terminal names
// them.
func TestEveryHostOfAServiceGetsACertificate(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	args := []string{"deploy", startApp(t, named("many")).addr(), "--service", "many", "--tls"}
	var all []string
	for range 4 {
		host := newHost()
		all = append(all, host)
		args = append(args, "--host", host)
	}
	result, err := s.Run(args...)
	must(t, err)
	if result.Code != 0 {
		t.Fatalf("the deploy ended with %d\n%s", result.Code, result.Stderr)
	}
	for _, host := range all {
		s.wantBody(t, host, "many", s.ca.roots)
		if n := s.ca.ordersFor(host); n != 1 {
			t.Errorf("%d orders for %s", n, host)
		}
		if !strings.Contains(result.Stderr, host) {
			t.Errorf("%s is not in the progress:\n%s", host, result.Stderr)
		}
	}
	if x := s.status(t, "many"); len(x.Certificates) != len(all) {
		t.Errorf("list says %+v", x)
	}
}

// The proxy's own authority needs nobody outside.
func TestInternalCertificatesAreOrderedFromNobody(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string][]string{"one word": {"--tls=internal"}, "two words": {"--tls", "internal"}} {
		t.Run(name, func(t *testing.T) {
			s := common.Get(t)
			host := newHost()
			s.deploy(t, append([]string{startApp(t, named("inside")).addr(), "--host", host}, flags...)...).wantDone(t)
			s.wantBody(t, host, "inside", s.internalRoots(t))
			if n := s.ca.ordersFor(host); n != 0 {
				t.Errorf("%d orders", n)
			}
		})
	}
}

// Some authorities give certificates to their customers only.
func TestAccountIsBoundToTheCustomersKey(t *testing.T) {
	t.Parallel()
	const id, key = "customer-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	customers := func(s *server) { s.options.accountKeys = map[string]string{id: key} }
	t.Run("with the key", func(t *testing.T) {
		s := startServer(t, customers, "--acme-email", "ops@"+domain, "--acme-eab-key-id", id, "--acme-eab-mac-key", key)
		host := newHost()
		s.deploy(t, startApp(t, named("bound")).addr(), "--host", host, "--tls").wantDone(t)
		s.wantBody(t, host, "bound", s.ca.roots)
	})
	t.Run("without", func(t *testing.T) {
		s := startServer(t, customers)
		s.deploy(t, startApp(t, named("unbound")).addr(), "--host", newHost(), "--tls").wantFailed(t, "externalAccountRequired")
	})
}

// --tls-wait=false switches at once and leaves the certificate for later. Until it is
// there, nobody is sent to where there is none.
func TestCertificateIsObtainedInTheBackground(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	held := s.holdOrders()
	host := newHost()
	d := s.deploy(t, startApp(t, named("later")).addr(), "--host", host, "--tls", "--tls-wait=false").wantDone(t)
	if a := s.get(t, "http://"+host+"/", nil); a.body != "later" {
		t.Errorf("over HTTP: %s", a)
	}
	if d.before("certified", "switched") {
		t.Errorf("the events are %q", d.events())
	}
	arrive(t, "the order", held.ordered)
	if x := s.status(t, host); !x.TLS || len(x.Certificates) != 1 || x.Certificates[0].NotAfter != nil {
		t.Errorf("before there is a certificate, list says %+v", x)
	}
	ofHTTP := func() string {
		result, err := s.Run("status", host)
		must(t, err)
		_, line, _ := strings.Cut(result.Stdout, "  http ")
		line, _, _ = strings.Cut(line, "\n")
		return strings.TrimSpace(line)
	}
	if got := ofHTTP(); got != "redirected to https, except for "+host+": served until there is a certificate" {
		t.Errorf("before there is a certificate, status says of HTTP: %s", got)
	}
	close(held.goOn)
	waitFor(t, "the certificate", func() bool {
		_, err := s.handshake(host, nil)
		return err == nil
	})
	s.wantBody(t, host, "later", s.ca.roots)
	if a := s.get(t, "http://"+host+"/", nil); a.StatusCode != http.StatusMovedPermanently {
		t.Errorf("over HTTP, now that there is a certificate: %s", a)
	}
	if got := ofHTTP(); got != "redirected to https" {
		t.Errorf("now that there is a certificate, status says of HTTP: %s", got)
	}
}
