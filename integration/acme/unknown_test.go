package acme

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// Trap 48: whoever points names at the proxy does not have certificates ordered for
// them.
func TestUnknownNamesAreNotOrdered(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 0))
	host, plain := newHost(), newHost()
	addr := startApp(t, named("app")).addr()
	s.deploy(t, addr, "--host", host, "--tls").wantDone(t)
	s.deploy(t, addr, "--host", plain).wantDone(t)
	s.deploy(t, addr, "--service", "everything").wantDone(t)
	before := s.ca.total()
	names := []string{plain, "www." + host, "xn--" + host, domain, "localhost", "a.b.c." + host, "_acme-challenge." + host}
	for range 100 {
		names = append(names, fmt.Sprintf("%x.%s", dice.Uint64(), []string{domain, host, "example.com", "test"}[dice.IntN(4)]))
	}
	for _, name := range names {
		for _, protocols := range [][]string{nil, {"h2"}, {"acme-tls/1"}} {
			if _, err := s.handshake(name, &tls.Config{NextProtos: protocols}); err == nil {
				t.Errorf("a handshake for %s succeeds", name)
			}
		}
	}
	if n := s.ca.total() - before; n != 0 {
		t.Errorf("%d orders: %v", n, s.ca.orders())
	}
	s.wantBody(t, host, "app", s.ca.roots)
}
