package nats

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/fleet"
	"github.com/parachute-proxy/parachute/internal/fleet/fleettest"
)

// start opens the stores of the proxies that run servers, and returns when all reach the buckets.
func (s *servers) start(t *testing.T) []*store {
	t.Helper()
	all := make([]*store, len(s.addrs))
	var reached sync.WaitGroup
	for i := range all {
		all[i] = s.open(t, i).(*store)
		reached.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if _, err := all[i].Look(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	reached.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return all
}

// restart starts the server of a proxy again, after it has been shut down.
func (s *servers) restart(t *testing.T, b *store, i int) {
	t.Helper()
	l := b.link
	server, err := startServer(l.address, s.addrs[i], l.secret, l.name, s.dirs[i], l.logger, func() {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Shutdown(); server.WaitForShutdown() })
}

// inTurn returns what opens stores by handing out those that there are.
func inTurn(all []*store) func(*testing.T) fleet.Store {
	next := 0
	return func(*testing.T) fleet.Store { next++; return all[(next-1)%len(all)] }
}

func TestThreeProxiesRunTheServersThemselves(t *testing.T) {
	t.Parallel() // it waits more than it computes
	all := newServers(t, 3).start(t)
	t.Run("EveryOperation", func(t *testing.T) { fleettest.EveryOperation(t, 3, fleettest.ByNetwork, inTurn(all)) })
	t.Run("Conform", func(t *testing.T) { fleettest.Conform(t, inTurn(all)) })
}

// A fleet that is new begins with all servers of its list, and says so until they are there.
func TestNewFleetSaysThatItNeedsAllOfItsServers(t *testing.T) {
	t.Parallel() // it waits more than it computes
	cluster := newServers(t, 3)
	first, second := cluster.open(t, 0), cluster.open(t, 1)
	go func() { _, _ = second.Look(t.Context()) }() // which starts its server
	fleettest.Await(t, "it is said what is missing", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := first.Look(ctx)
		return err != nil && strings.Contains(err.Error(), "a new fleet begins when 3 of its NATS servers reach each other")
	})
	third := cluster.open(t, 2)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := third.Look(ctx); err != nil {
		t.Error(err)
	}
}

// leader returns the server that leads the bucket of decisions.
func leader(t *testing.T, all []*store) int {
	t.Helper()
	for i, b := range all {
		if b.link.runs.JetStreamIsStreamLeader("$G", "KV_"+defaultBucket) {
			return i
		}
	}
	t.Fatal("there is no leader")
	return 0
}

func TestServersMayDieAndComeBack(t *testing.T) {
	t.Parallel() // it waits more than it computes
	cluster := newServers(t, 3)
	all := cluster.start(t)
	timing := fleettest.ByNetwork
	timing.Patience = fleet.DefaultPatience // an election takes up to 9 s: maxElectionTimeoutDefault in NATS's raft.go
	var nodes []*fleettest.Node
	for i, b := range all {
		nodes = append(nodes, fleettest.Start(t, b, cluster.name(i), timing))
	}
	first := fleettest.App(t)
	if _, err := nodes[0].Deploy(t, "web", first); err != nil {
		t.Fatal(err)
	}

	// The leader dies while a deployment is under way, and takes its own proxy's first choice along.
	dead := leader(t, all)
	coordinator := nodes[(dead+1)%3]
	kill := time.AfterFunc(20*time.Millisecond, all[dead].link.runs.Shutdown)
	defer kill.Stop()
	began := time.Now()
	second := fleettest.App(t)
	if _, err := coordinator.Deploy(t, "web", second); err != nil {
		t.Fatal(err)
	}
	t.Logf("with a leader that dies, the deployment took %s", time.Since(began).Round(time.Millisecond))
	fleettest.Converged(t, nodes, "web", "v2 "+second+" false")

	// No majority is left: nothing changes, and nobody is told that something newer has come.
	other := (dead + 2) % 3
	all[other].link.runs.Shutdown()
	_, err := coordinator.Deploy(t, "web", fleettest.App(t))
	if code := api.ErrorCode(err); code != api.CodeFleet || !strings.Contains(err.Error(), "cannot be reached") {
		t.Fatalf("%v", err)
	}
	fleettest.Converged(t, nodes, "web", "v2 "+second+" false")

	// They come back.
	for _, i := range []int{dead, other} {
		cluster.restart(t, all[i], i)
	}
	third := fleettest.App(t)
	fleettest.Await(t, "the fleet decides again", func() bool { _, err := nodes[dead].Deploy(t, "web", third); return err == nil })
	fleettest.Await(t, "all have converged", func() bool {
		return strings.Contains(nodes[0].Serves("web"), third) && nodes[1].Serves("web") == nodes[0].Serves("web") && nodes[2].Serves("web") == nodes[0].Serves("web")
	})
}

func TestServerThatIsRestartedHasWhatWasDecided(t *testing.T) {
	t.Parallel() // it waits more than it computes
	alone := newServers(t, 1)
	all := alone.start(t)
	client := open(t, alone.config, "proxy-2", "").(*store)
	nodes := []*fleettest.Node{
		fleettest.Start(t, all[0], "proxy-1", fleettest.ByNetwork), fleettest.Start(t, client, "proxy-2", fleettest.ByNetwork),
	}
	first, second := fleettest.App(t), fleettest.App(t)
	if _, err := nodes[0].Deploy(t, "web", first); err != nil {
		t.Fatal(err)
	}
	all[0].link.runs.Shutdown()
	all[0].link.runs.WaitForShutdown()
	alone.restart(t, all[0], 0)
	// The leases were in its memory, and are not taken for goodbyes.
	leases, err := client.Leases(t.Context())
	if err != nil || len(leases) != 2 {
		t.Errorf("%+v, %v", leases, err)
	}
	fleettest.Await(t, "the fleet decides again", func() bool { _, err := nodes[1].Deploy(t, "web", second); return err == nil })
	fleettest.Converged(t, nodes, "web", nodes[1].Serves("web"))
}

func TestBucketThatIsMadeAnewIsNotTakenForAnEmptyFleet(t *testing.T) {
	b := inOwnNATS(ownNATS(t))(t).(*store)
	p := fleet.Plan{ID: "a", Service: "web"}
	if _, err := b.Propose(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	c, err := b.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.decisions.js.DeleteStream(t.Context(), c.decisions.stream()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Look(t.Context()); !errors.Is(err, errLost) {
		t.Error(err)
	}
	if err := c.decisions.make(t.Context()); err != nil { // as another proxy does
		t.Fatal(err)
	}
	if _, err := b.Propose(t.Context(), p); !errors.Is(err, errLost) {
		t.Error(err)
	}
}

// A process that is to run the server of its proxy again tries until another process has let go of the port.
func TestServerIsTakenBackWhenItsPortIsFree(t *testing.T) {
	t.Parallel() // it waits more than it computes
	alone := newServers(t, 1)
	all := alone.start(t)
	l := all[0].link
	l.Rise()
	other, err := net.Listen("tcp", alone.addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Sit(); !isPortTaken(err) {
		t.Errorf("%v", err)
	}
	other.Close()
	fleettest.Await(t, "the server runs again", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := all[0].Look(ctx)
		return err == nil
	})
}
