package integration

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/internal/api"
)

// Trap 54. The proxy is killed at random instants while deploys of several
// services run; every restart has to load, lose no service, and serve a release
// that was healthy. It is killed 40 times, or 200 with PARACHUTE_SOAK. A release whose deploy has returned is never lost.
func TestKilledProxyComesBackWithEveryService(t *testing.T) {
	kills := soakCount(t, 40, 200)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	p := newProxy(t)
	apps := []*app{startApp(t, "a", nil), startApp(t, "b", nil)}
	hosts := []string{"one.test", "two.test", "three.test"}
	must(t, p.Start())
	for _, host := range hosts {
		deploy(t, p, requestFor(host, apps[0]))
	}
	deploys := 0
	for kill := range kills {
		ctx, stop := context.WithCancel(context.Background())
		var deployers sync.WaitGroup
		done := make([]int, len(hosts)) // the newest release whose deploy returned
		for i, host := range hosts {
			deployers.Go(func() {
				for n := kill + 1; ctx.Err() == nil; n++ {
					status, err := p.Deploy(ctx, requestFor(host, apps[n%2]))
					if err == nil {
						done[i] = status.Release
					}
				}
			})
		}
		time.Sleep(time.Duration(random.Int64N(int64(25 * time.Millisecond)))) // the random instant
		p.Kill()
		stop()
		deployers.Wait()
		for _, release := range done {
			deploys += min(release, 1)
		}

		if err := p.Start(); err != nil {
			t.Fatalf("restart after kill %d: %v", kill+1, err)
		}
		for i, host := range hosts {
			status := serviceOf(t, p, host)
			if status.Broken != "" || status.Active == nil {
				t.Fatalf("kill %d: %s is broken: %q", kill+1, host, status.Broken)
			}
			if status.Active.Release < done[i] {
				t.Fatalf("kill %d: %s serves v%d, but the deploy of v%d had returned", kill+1, host, status.Active.Release, done[i])
			}
			resp, body := get(t, p, host, "/")
			if resp.StatusCode != 200 || !slices.Contains([]string{"a", "b"}, body) {
				t.Fatalf("kill %d: %s answers %s %q", kill+1, host, resp.Status, body)
			}
		}
	}
	t.Logf("%d kills, %d services served after each; %d times a deploy had returned before the kill", kills, len(hosts), deploys)
	_, err := p.Stop(patience)
	must(t, err)
}

func requestFor(host string, a *app) api.DeployRequest {
	return api.DeployRequest{Targets: []string{a.addr()}, Hosts: []string{host}}
}

func serviceOf(t *testing.T, p *rig.Proxy, name string) api.ServiceStatus {
	t.Helper()
	for _, s := range services(t, p) {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("there is no service %s", name)
	return api.ServiceStatus{}
}

// Trap 56, and what a plain Caddy would do: take the socket and half of the
// traffic away from the first.
func TestSecondProxyRefusesToStart(t *testing.T) {
	first := startProxy(t)
	for _, c := range []struct {
		name, want string
		change     func(second *rig.Proxy)
	}{
		{"same ports", "is in use by another program", func(second *rig.Proxy) {
			second.HTTPPort = first.HTTPPort
		}},
		{"same admin socket", "another proxy is running", func(second *rig.Proxy) {
			second.Args = []string{"--admin", first.Admin()}
		}},
		{"same storage", "another proxy is running", func(second *rig.Proxy) {
			second.Args = []string{"--storage", filepath.Join(first.Dir, "storage")}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			second := newProxy(t)
			c.change(second)
			r := run(t, second, append([]string{"run"}, second.RunArgs()...)...)
			if r.Code != 1 || !strings.Contains(r.Stderr, c.want) || !strings.Contains(r.Stderr, "hint: ") {
				t.Errorf("exit code %d: %s", r.Code, r.Stderr)
			}
		})
	}
	if s := services(t, first); len(s) != 0 {
		t.Errorf("the first proxy has %d services", len(s))
	}
}

func TestSocketOfAKilledProxyIsReplaced(t *testing.T) {
	p := newProxy(t)
	must(t, p.Start())
	a := startApp(t, "a", nil)
	deploy(t, p, to(a))
	p.Kill()
	if r := run(t, p, "list"); r.Code != 6 || !strings.Contains(r.Stderr, "no proxy answers") {
		t.Errorf("list of a dead proxy: %d %s", r.Code, r.Stderr)
	}
	must(t, p.Start())
	if _, body := get(t, p, "", "/"); body != "a" {
		t.Errorf("%q answers", body)
	}
}

// Trap 44: after a restart with one dead target of two, no request fails, and
// until it has been probed a target is shown as what it is: unverified.
func TestRestartWithADeadTargetFailsNoRequest(t *testing.T) {
	p := newProxy(t)
	must(t, p.Start())
	alive, dead := startApp(t, "alive", nil), startApp(t, "dead", nil)
	deploy(t, p, api.DeployRequest{Targets: []string{alive.addr(), dead.addr()}})
	p.Kill()
	dead.CloseClientConnections()
	dead.Server.Close()
	must(t, p.Start())
	for range 100 {
		if resp, body := get(t, p, "", "/"); resp.StatusCode != 200 {
			t.Fatalf("%s: %s", resp.Status, body)
		}
	}
	waitFor(t, "the dead target to be found", func() bool {
		targets := services(t, p)[0].Active.Targets
		return targets[0].Health == api.HealthHealthy && targets[1].Health == api.HealthFailing
	})
}
