package fleettest

import (
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/fleet"
)

// Overtaken tests that a deployment whose release before still drains on another proxy, when the next change of the service is
// decided, ends when that has drained: neither before, nor as one of which nobody knows.
func Overtaken(t *testing.T, timing Timing, open func(t *testing.T) fleet.Store) {
	nodes := StartAll(t, 3, timing, open)
	for what, by := range map[string][]*Node{"by another proxy": nodes[:2], "by the same": {nodes[0], nodes[0]}} {
		t.Run(what, func(t *testing.T) { overtaken(t, nodes, by) })
	}
	t.Run("before a proxy has looked", func(t *testing.T) { overtakenUnseen(t, nodes) })
}

// overtakenUnseen has a proxy see a decision only when the next change of the service has been proposed.
func overtakenUnseen(t *testing.T, nodes []*Node) {
	proposed := make(chan struct{})
	nodes[1].Link.After(CallPropose, func() error { close(proposed); return nil })
	nodes[2].Link.After(Acknowledges(api.FleetPrepared), func() error {
		nodes[2].Link.Before(CallLook, func() error { <-proposed; return nil })
		return nil
	})
	first, next := App(t), App(t)
	done := make(chan error, 1)
	go func() { _, err := nodes[0].Deploy(t, "web", first); done <- err }()
	Await(t, "the first is served", func() bool { return nodes[1].ServesTarget("web", first) })
	if nodes[2].ServesTarget("web", first) {
		t.Error("the proxy that is not to have looked serves the first")
	}
	if _, err := nodes[1].Deploy(t, "web", next); err != nil {
		t.Error(err)
	}
	if err := arrive(t, done); err != nil {
		t.Error(err)
	}
}

func overtaken(t *testing.T, nodes, by []*Node) {
	busy := startBusyApp(t)
	if _, err := nodes[0].Deploy(t, "web", busy.target); err != nil {
		t.Fatal(err)
	}
	leave := busy.occupy(t, nodes[2])
	defer leave()

	type ended struct {
		by  string
		of  api.DeploymentStatus
		err error
	}
	ends := make(chan ended, len(by))
	for _, n := range by {
		target := App(t)
		d, err := n.Engine.Deploy(api.DeployRequest{Service: "web", Targets: []string{target}, Hosts: []string{"web.test"}}.Patch())
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			of, err := d.Wait(t.Context())
			ends <- ended{n.Name, of, err}
		}()
		Await(t, "all serve it", func() bool {
			for _, n := range nodes {
				if !n.ServesTarget("web", target) {
					return false
				}
			}
			return true
		})
	}
	select {
	case e := <-ends:
		t.Fatalf("the deployment by %s has ended while a proxy holds a request: %+v, %v", e.by, e.of, e.err)
	default:
	}
	leave()
	for range by {
		e := arrive(t, ends)
		if e.err != nil {
			t.Errorf("the deployment by %s: %v", e.by, e.err)
		}
		for _, step := range e.of.Fleet {
			if step.Phase != api.FleetDrained {
				t.Errorf("the deployment by %s: %+v", e.by, step)
			}
		}
	}
}
