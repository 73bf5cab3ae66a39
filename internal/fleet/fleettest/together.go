package fleettest

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/fleet"
)

// EveryOperation tests that every operation is done by all proxies of a fleet of a size. open is as for
// [Conform].
func EveryOperation(t *testing.T, size int, timing Timing, open func(t *testing.T) fleet.Store) {
	nodes := StartAll(t, size, timing, open)
	a, b := App(t), App(t)
	if s, err := nodes[0].Deploy(t, "web", a); err != nil || len(s.Fleet) != size {
		t.Fatalf("%+v, %v", s.Fleet, err)
	}
	Converged(t, nodes, "web", "v1 "+a+" false")
	s, err := nodes[1].Deploy(t, "web", b)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range s.Fleet {
		if step.Phase != api.FleetDrained {
			t.Errorf("%+v", step)
		}
	}
	Converged(t, nodes, "web", "v2 "+b+" false")
	if _, err := nodes[2].Engine.Hold(t.Context(), "web", api.Paused, api.HoldRequest{}); err != nil {
		t.Fatal(err)
	}
	Converged(t, nodes, "web", "v2 "+b+" true")
	if _, err := nodes[0].Engine.Resume("web", ""); err != nil {
		t.Fatal(err)
	}
	d, err := nodes[2].Engine.Rollback(t.Context(), "web", api.RollbackRequest{})
	if err == nil {
		_, err = d.Wait(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	Converged(t, nodes, "web", "v3 "+a+" false")
	if _, err := nodes[1].Engine.Remove("web", api.RemoveRequest{}); err != nil {
		t.Fatal(err)
	}
	Converged(t, nodes, "web", "")
}

// Rivals tests that of deployments at once exactly one wins, and of two services that want a host one
// gets it.
func Rivals(t *testing.T, timing Timing, open func(t *testing.T) fleet.Store) {
	nodes := StartAll(t, 3, timing, open)
	for round := range 5 {
		targets := []string{App(t), App(t), App(t)}
		won := make([]bool, len(nodes))
		var rivals sync.WaitGroup
		for i, n := range nodes {
			rivals.Go(func() {
				_, err := n.Deploy(t, "web", targets[i])
				if won[i] = err == nil; err != nil && api.ErrorCode(err) != api.CodeSuperseded {
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		rivals.Wait()
		// A rival that began after another one had been decided wins after it.
		Converged(t, nodes, "web", nodes[0].Serves("web"))
		if !won[0] && !won[1] && !won[2] {
			t.Errorf("round %d: nobody has won", round)
		}
	}
	errs := make([]error, 2)
	var rivals sync.WaitGroup
	for i, name := range []string{"one", "two"} {
		target := App(t)
		rivals.Go(func() { _, errs[i] = nodes[i].DeployHost(t, name, target, "shop.test") })
	}
	rivals.Wait()
	if (errs[0] == nil) == (errs[1] == nil) {
		t.Fatalf("%v, %v", errs[0], errs[1])
	}
}

// Absence tests that a proxy that is cut off is named, keeps the others from deciding until it is
// forgotten, and catches up.
func Absence(t *testing.T, timing Timing, open func(t *testing.T) fleet.Store) {
	timing.Lease = min(timing.Lease, 2*time.Second)
	nodes := StartAll(t, 3, timing, open)
	a, b := App(t), App(t)
	if _, err := nodes[0].Deploy(t, "web", a); err != nil {
		t.Fatal(err)
	}
	nodes[2].Link.SetCut(true)
	Await(t, "proxy-3 is missed", func() bool { return nodes[0].Misses("proxy-3") })
	_, err := nodes[0].Deploy(t, "web", b)
	if api.ErrorCode(err) != api.CodeFleet || !strings.Contains(err.Error(), "proxy-3") {
		t.Fatal(err)
	}
	for _, name := range []string{"proxy-2", "proxy-9"} {
		if _, err := nodes[0].DeployWithout(t, "web", b, name); api.ErrorCode(err) != api.CodeInvalid || !strings.Contains(err.Error(), name) {
			t.Fatal(err)
		}
	}
	if _, err := nodes[0].DeployWithout(t, "web", b, "proxy-3"); err != nil {
		t.Fatal(err)
	}
	Converged(t, nodes[:2], "web", "v2 "+b+" false")
	if err := nodes[0].Agent.Forget(t.Context(), "proxy-3"); err != nil {
		t.Fatal(err)
	}
	if _, err := nodes[0].Deploy(t, "web", b); err != nil {
		t.Fatal(err)
	}
	Converged(t, nodes[2:], "web", "v1 "+a+" false")
	nodes[2].Link.SetCut(false)
	Await(t, "proxy-3 has caught up", func() bool { return nodes[2].Serves("web") == "v3 "+b+" false" })
}

// Shares tests that every proxy tells how many of them serve a service as it was decided, and names the others.
func Shares(t *testing.T, timing Timing, open func(t *testing.T) fleet.Store) {
	timing.Lease = min(timing.Lease, 2*time.Second)
	nodes := StartAll(t, 3, timing, open)
	tell := func(n *Node) string {
		s := n.Agent.Shares(t.Context())("web")
		return strings.TrimSpace(s.String() + " " + strings.Join(s.Lacking, " "))
	}
	await := func(nodes []*Node, want string) {
		t.Helper()
		for _, n := range nodes {
			Await(t, n.Name+" says "+want+", and not "+tell(n), func() bool { return tell(n) == want })
		}
	}
	if _, err := nodes[0].Deploy(t, "web", App(t)); err != nil {
		t.Fatal(err)
	}
	if got := tell(nodes[0]); got != "3 of 3 proxies" {
		t.Errorf("the proxy that has coordinated a deploy says %q", got)
	}
	await(nodes, "3 of 3 proxies")
	nodes[2].Link.SetCut(true)
	await(nodes[:2], "2 of 3 proxies proxy-3")
	if _, err := nodes[1].DeployWithout(t, "web", App(t), "proxy-3"); err != nil {
		t.Fatal(err)
	}
	await(nodes[:2], "2 of 3 proxies proxy-3")
	nodes[2].disk.setFull(true)
	nodes[2].Link.SetCut(false)
	Await(t, "proxy-3 is heard of", func() bool { return !nodes[0].Misses("proxy-3") })
	await(nodes, "2 of 3 proxies proxy-3") // it cannot store what was decided
	nodes[2].disk.setFull(false)
	await(nodes, "3 of 3 proxies")
}

// StaleResume tests that a proxy which has not heard of a hold does not say that there is none.
func StaleResume(t *testing.T, timing Timing, open func(t *testing.T) fleet.Store) {
	nodes := StartAll(t, 3, timing, open)
	a := App(t)
	if _, err := nodes[0].Deploy(t, "web", a); err != nil {
		t.Fatal(err)
	}
	nodes[2].Link.SetCut(true)
	if _, err := nodes[2].Engine.Resume("web", ""); api.ErrorCode(err) != api.CodeFleet {
		t.Errorf("a proxy that is cut off says that nothing is held: %v", err)
	}
	nodes[2].Link.SetCut(false)
	Await(t, "the proxy is heard of", func() bool { _, err := nodes[2].Engine.Resume("web", ""); return err == nil })
	Converged(t, nodes, "web", "v1 "+a+" false")
}

// LateFirstBeat tests that the lease of the process before is not taken for that of another one, if the store
// could not be reached when this process began.
func LateFirstBeat(t *testing.T, timing Timing, open func(t *testing.T) fleet.Store) {
	nodes := StartAll(t, 2, timing, open)
	wire := &Link{Store: open(t)}
	wire.SetCut(true)
	n := nodes[1].Restart(t, wire, timing)
	Await(t, "a beat has failed", func() bool { return strings.Contains(n.Agent.Status().Problem, ErrCut.Error()) })
	next := make(chan Call, 2)
	wire.After(CallBeat, func() error {
		n.Link.Before(CallBeat, func() error { next <- CallBeat; return nil })
		n.Link.Before(CallLeases, func() error { next <- CallLeases; return nil })
		return nil
	})
	wire.SetCut(false)
	if call := <-next; call != CallLeases {
		t.Error("the proxy takes the lease of its process before for another proxy's")
	}
	Await(t, "the proxy is ready", n.Agent.Ready)
}

// LostAnswer tests that a decision of which the answer was lost is looked up, and that one that was not
// made has changed nothing.
func LostAnswer(t *testing.T, timing Timing, open func(t *testing.T) fleet.Store) {
	nodes := StartAll(t, 3, timing, open)
	a := App(t)
	nodes[0].Link.After(CallDecide, func() error { return ErrCut })
	if _, err := nodes[0].Deploy(t, "web", a); err != nil {
		t.Fatal(err)
	}
	Converged(t, nodes, "web", "v1 "+a+" false")
	nodes[0].Link.Before(CallDecide, func() error { nodes[0].Link.SetCut(true); return ErrCut })
	if _, err := nodes[0].Deploy(t, "web", App(t)); api.ErrorCode(err) != api.CodeFleetUnknown {
		t.Fatal(err)
	}
	Converged(t, nodes, "web", "v1 "+a+" false")
}
