package acme

import (
	"math/rand/v2"
	"net/http"
	"os"
	"testing"
	"time"
)

// TestCertificatesRaceWithUpgrades: a deploy that orders a certificate at any moment of an upgrade
// succeeds, whether it waits for it or not, and so does the first handshake of a host whose certificate
// is obtained on demand. It takes a race of each, or a hundred with PARACHUTE_SOAK.
func TestCertificatesRaceWithUpgrades(t *testing.T) {
	t.Parallel()
	races := 1
	if os.Getenv("PARACHUTE_SOAK") != "" {
		races = 100
	}
	s := startServer(t, nil, "--linger", "3s")
	app := startApp(t, named("app"))
	ask := startApp(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	s.deploy(t, app.addr(), "--service", "any", "--tls-on-demand-url", ask.URL+"/allowed").wantDone(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	boot := 300 * time.Millisecond
	var hosts []string
	race := func(during func(host string)) {
		host := newHost()
		hosts = append(hosts, host)
		upgraded := make(chan error, 1)
		begin := time.Now()
		go func() {
			_, err := s.Upgrade()
			upgraded <- err
		}()
		time.Sleep(time.Duration(rnd.Int64N(int64(boot) + 1))) // which waits for nothing: each race is at another moment
		during(host)
		must(t, arrive(t, "the upgrade", upgraded))
		boot = min(time.Since(begin), time.Second)
		s.wantBody(t, host, "app", s.ca.roots)
		waitFor(t, "old processes to end", func() bool {
			all, err := s.Processes()
			return err == nil && len(all) <= 2
		})
	}
	for range races {
		race(func(host string) { s.deploy(t, app.addr(), "--host", host, "--tls").wantDone(t) })
		race(func(host string) {
			s.deploy(t, app.addr(), "--host", host, "--tls", "--tls-wait=false").wantDone(t)
			waitFor(t, "the certificate", func() bool {
				state, err := s.handshake(host, nil)
				return err == nil && state.PeerCertificates[0].VerifyHostname(host) == nil
			})
		})
		race(func(host string) {
			if _, err := s.handshake(host, nil); err != nil {
				t.Errorf("the first handshake of %s: %v", host, err)
			}
		})
	}
	again := 0
	for _, host := range hosts {
		// The old process ends an order that is under way, and an attempt may fail while the new one begins.
		n := s.ca.ordersFor(host)
		if n > 3 {
			t.Errorf("%s was ordered %d times", host, n)
		}
		again += n - 1
	}
	t.Logf("%d hosts, and %d more orders by new processes", len(hosts), again)
}
