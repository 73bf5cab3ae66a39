package acme

import (
	"slices"
	"testing"
)

// A host that is removed has no certificate any more, and nobody renews it. It can
// come back.
func TestRemovedHostIsRenewedNoMore(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	gone, stays := newHost(), newHost()
	addr := startApp(t, named("app")).addr()
	s.deploy(t, addr, "--host", gone, "--tls").wantDone(t)
	s.deploy(t, addr, "--host", stays, "--tls").wantDone(t)
	leaf := s.leaf(t, gone)
	r, err := s.Run("remove", gone)
	must(t, err)
	if r.Code != 0 {
		t.Fatalf("removing: %s", r.Stderr)
	}
	if _, err := s.handshake(gone, nil); err == nil {
		t.Error("a handshake for the removed host succeeds")
	}

	// What is renewed is renewed by rounds: after two of them, that of the removed host
	// would be, too.
	s.ca.renew(leaf)
	for range 2 {
		old := s.leaf(t, stays)
		s.ca.renew(old)
		waitFor(t, "the renewal of the other host", func() bool { return !s.leaf(t, stays).Equal(old) })
	}
	if n := s.ca.ordersFor(gone); n != 1 {
		t.Errorf("%d orders for the removed host", n)
	}
	if _, err := s.handshake(gone, nil); err == nil {
		t.Error("a handshake for the removed host succeeds")
	}

	s.deploy(t, startApp(t, named("back")).addr(), "--host", gone, "--tls").wantDone(t)
	s.wantBody(t, gone, "back", s.ca.roots)
}

// A deploy that leaves a host out removes it.
func TestHostThatIsLeftOutHasNoCertificate(t *testing.T) {
	t.Parallel()
	s := common.Get(t)
	one, two := newHost(), newHost()
	s.deploy(t, startApp(t, named("v1")).addr(), "--service", one, "--host", one, "--host", two, "--tls=internal").wantDone(t)
	s.wantBody(t, two, "v1", s.internalRoots(t))
	s.deploy(t, startApp(t, named("v2")).addr(), "--service", one, "--host", one, "--tls=internal").wantDone(t)
	s.wantBody(t, one, "v2", s.internalRoots(t))
	if _, err := s.handshake(two, nil); err == nil {
		t.Error("a handshake for the host that was left out succeeds")
	}
	if x := s.status(t, one); len(x.Certificates) != 1 {
		t.Errorf("list says %+v", x)
	}
}

// Certificates outlive the proxy: it needs no authority to start with, not even after
// a crash.
func TestRestartNeedsNoAuthority(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	host := newHost()
	s.deploy(t, startApp(t, named("app")).addr(), "--host", host, "--tls").wantDone(t)
	leaf := s.leaf(t, host)
	s.ca.close()
	for _, end := range []string{"stop", "crash"} {
		if end == "crash" {
			s.Kill()
			must(t, s.Start())
		} else {
			s.restart(t)
		}
		s.wantBody(t, host, "app", s.ca.roots)
		if !s.leaf(t, host).Equal(leaf) {
			t.Errorf("after a %s, another certificate is served", end)
		}
	}
	if n := s.ca.ordersFor(host); n != 1 {
		t.Errorf("%d orders", n)
	}
}

// Certificates are loaded one after the other. Nobody is sent by plain HTTP because the
// turn of a host has not come.
func TestHostsWithStoredCertificatesAreRedirectedAfterARestart(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	args := []string{startApp(t, named("many")).addr(), "--service", "many", "--tls=internal", "--tls-wait=false"}
	var all []string
	for range 200 {
		all = append(all, newHost())
		args = append(args, "--host", all[len(all)-1])
	}
	s.deploy(t, args...).wantDone(t)
	waitFor(t, "all certificates", func() bool {
		for _, c := range s.status(t, "many").Certificates {
			if c.NotAfter == nil {
				return false
			}
		}
		return true
	})
	s.restart(t)
	for _, host := range slices.Backward(all) {
		if resp, _ := s.raw(t, "GET", "/x", host); resp.Header.Get("Location") != s.https(host, "/x") {
			t.Fatalf("%s: %s to %q", host, resp.Status, resp.Header.Get("Location"))
		}
	}
}
