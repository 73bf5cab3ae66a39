package acme

import (
	"fmt"
	"testing"
)

// Deploys cost no request over TLS, whatever clients speak, whether their connections
// are old or new.
func TestDeploysUnderLoadOverTLS(t *testing.T) {
	t.Parallel()
	s := common.Get(t)
	host := newHost()
	apps := []*app{startApp(t, named("v1")), startApp(t, named("v2"))}
	s.deploy(t, apps[0].addr(), "--host", host, "--tls=internal").wantDone(t)
	url := "https://" + host + "/"
	l := newLoad()
	for _, protocol := range protocols {
		for range 2 {
			l.user(fetch(s.client(t, protocol, s.internalRoots(t)), url, "v1", "v2"))
		}
		if protocol != h3 { // whose client cannot close what is idle
			c := s.client(t, protocol, s.internalRoots(t))
			l.user(fresh(c, fetch(c, url, "v1", "v2")))
		}
	}
	const deploys = 50
	for i := 1; i <= deploys; i++ {
		s.deploy(t, apps[i%2].addr(), "--host", host, "--tls=internal").wantDone(t)
		s.wantBody(t, host, fmt.Sprint("v", i%2+1), s.internalRoots(t))
	}
	l.end(t)
	if x := s.status(t, host); x.Active.Release != deploys+1 {
		t.Errorf("release %d serves", x.Active.Release)
	}
}
