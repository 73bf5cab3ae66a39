package nats

import (
	"cmp"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/fleet"
	"github.com/parachute-proxy/parachute/internal/fleet/fleettest"
)

// fleetSize is an environment variable: how many proxies TestLargeFleetDecides has. Default: 20.
const fleetSize = "PARACHUTE_TEST_FLEET"

// A large fleet on one server decides again and again, and each proxy that was away catches up. With -v, the test
// says how long that takes.
func TestLargeFleetDecides(t *testing.T) {
	size, err := strconv.Atoi(cmp.Or(os.Getenv(fleetSize), "20"))
	if err != nil {
		t.Fatal(err)
	}
	alone := newServers(t, 1)
	server := alone.start(t)[0]
	timing := fleettest.Timing{Poll: fleet.DefaultPoll, Lease: fleet.DefaultLease, Patience: fleet.DefaultPatience}
	nodes := []*fleettest.Node{fleettest.Start(t, server, alone.name(0), timing)}
	for i := 1; i < size; i++ {
		nodes = append(nodes, fleettest.Boot(t, open(t, alone.config, alone.name(i), ""), alone.name(i), timing))
	}
	began := time.Now()
	for _, n := range nodes {
		fleettest.Await(t, n.Name+" is ready", n.Agent.Ready)
	}
	t.Logf("%d proxies have joined within %s", size, time.Since(began).Round(time.Millisecond))

	apps := []string{fleettest.App(t), fleettest.App(t)}
	var switched, drained []time.Duration
	for round := range 12 {
		target := apps[round%2]
		began := time.Now()
		var watch sync.WaitGroup
		var all time.Duration
		watch.Go(func() {
			for _, n := range nodes {
				fleettest.Await(t, "all serve it", func() bool { return n.ServesTarget("web", target) })
			}
			all = time.Since(began)
		})
		if _, err := nodes[round%size].Deploy(t, "web", target); err != nil {
			t.Fatal(err)
		}
		drained = append(drained, time.Since(began))
		watch.Wait()
		switched = append(switched, all)
	}
	t.Logf("from the question to switched everywhere: median %s, longest %s", median(switched), slices.Max(switched).Round(time.Millisecond))
	t.Logf("to drained everywhere: median %s, longest %s", median(drained), slices.Max(drained).Round(time.Millisecond))
	t.Logf("deployments a minute, one after the other: %.0f", 60/median(drained).Seconds())

	last := nodes[size-1]
	last.Link.SetCut(true)
	if _, err := nodes[0].DeployWithout(t, "web", apps[0], last.Name); err == nil {
		t.Error("it is missing before its lease is over")
	}
	fleettest.Await(t, "it is missed", func() bool { return nodes[0].Misses(last.Name) })
	if _, err := nodes[0].DeployWithout(t, "web", apps[0], last.Name); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	last.Link.SetCut(false)
	fleettest.Await(t, "it has caught up", func() bool { return last.ServesTarget("web", apps[0]) })
	t.Logf("one that was away has caught up within %s", time.Since(began).Round(time.Millisecond))
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2].Round(time.Millisecond)
}
