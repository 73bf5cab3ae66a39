package integration

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// racingProxy is a proxy that is upgraded while something else is done with it.
type racingProxy struct {
	*rig.Proxy
	t   *testing.T
	rnd *rand.Rand
	// boot is how long the last upgrade has taken.
	boot time.Duration
}

// race runs a command at any moment of an upgrade. Both have to succeed.
func (p *racingProxy) race(args ...string) {
	p.t.Helper()
	upgraded := make(chan error, 1)
	delay := time.Duration(p.rnd.Int64N(int64(p.boot) + 1))
	begin := time.Now()
	go func() {
		_, err := p.Upgrade()
		upgraded <- err
	}()
	time.Sleep(delay) // which waits for nothing: each race is at another moment
	r, err := p.Run(args...)
	must(p.t, errors.Join(err, <-upgraded))
	p.boot = time.Since(begin)
	if r.Code != 0 {
		p.t.Fatalf("%s after %s ends with %d:\n%s%s", strings.Join(args, " "), delay, r.Code, r.Stdout, r.Stderr)
	}
	if all, err := p.Processes(); err != nil || len(all) > 3 {
		awaitProcesses(p.t, p.Proxy, 2)
	}
}

// wants checks what a request gets from now on.
func (p *racingProxy) wants(status int, body string) {
	p.t.Helper()
	if resp, got := get(p.t, p.Proxy, "app.test", "/"); resp.StatusCode != status || body != "" && got != body {
		p.t.Fatalf("a request gets %s and %q, want %d and %q", resp.Status, got, status, body)
	}
}

// TestOperationsRaceWithUpgrades: whatever is done at any moment of an upgrade succeeds, and is what the
// new process serves. Each operation is raced twice, or a hundred times with PARACHUTE_SOAK.
func TestOperationsRaceWithUpgrades(t *testing.T) {
	rounds := soakCount(t, 1, 50)
	for name, round := range map[string]func(p *racingProxy, a, b *app){
		"deploys": func(p *racingProxy, a, b *app) {
			for _, next := range []*app{a, b} {
				p.race("deploy", next.addr())
				p.wants(http.StatusOK, next.name)
			}
		},
		"removals": func(p *racingProxy, a, _ *app) {
			for range 2 {
				p.race("remove", "default")
				p.wants(http.StatusNotFound, "")
				wantRun(p.t, p.Proxy, 0, "deploy", a.addr())
			}
		},
		"stops": func(p *racingProxy, _, _ *app) {
			p.race("stop", "default", "--message", "back soon")
			p.wants(http.StatusServiceUnavailable, "back soon\n")
			p.race("resume", "default")
			p.wants(http.StatusOK, "")
		},
		"pauses": func(p *racingProxy, _, _ *app) {
			p.race("pause", "default", "--queue", "0")
			p.wants(http.StatusServiceUnavailable, "")
			p.race("resume", "default")
			p.wants(http.StatusOK, "")
		},
		"rollouts": func(p *racingProxy, _, b *app) {
			before := services(p.t, p.Proxy)[0].Active.Release
			p.race("deploy", b.addr(), "--canary", "0%", "--detach")
			waitFor(p.t, "the canary", func() bool { return services(p.t, p.Proxy)[0].Rollout != nil })
			p.race("rollout", "abort", "default")
			if now := services(p.t, p.Proxy)[0].Active.Release; now != before {
				p.t.Fatalf("v%d serves after an abort, and v%d before", now, before)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := startApp(t, "a", nil), startApp(t, "b", nil)
			p := &racingProxy{Proxy: startProxy(t), t: t, rnd: testkit.NewRand(t), boot: 300 * time.Millisecond}
			deploy(t, p.Proxy, to(a))
			for range rounds {
				round(p, a, b)
			}
			if all, err := p.Processes(); err != nil || all[0].Generation != 2*rounds+1 {
				t.Errorf("%+v, %v", all, err)
			}
			t.Logf("%d races", 2*rounds)
		})
	}
}
