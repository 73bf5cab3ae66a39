package fleettest

import (
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/fleet"
)

// Imported tests that a proxy which becomes part of a fleet serves what it has had before without a gap, and that the others
// serve it as well, as soon as they can. What the fleet has under the same name stands.
func Imported(t *testing.T, timing Timing, open func(t *testing.T) fleet.Store) {
	apps := map[string]string{"web": App(t), "held": App(t), "taken": App(t), "again": App(t)}
	alone := Start(t, NewMemory(), "alone", timing)
	for service, target := range apps {
		if _, err := alone.Deploy(t, service, target); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := alone.Engine.Hold(t.Context(), "held", api.Paused, api.HoldRequest{}); err != nil {
		t.Fatal(err)
	}
	alone.Agent.Stop()

	nodes := StartAll(t, 2, timing, open)
	ours := App(t)
	for _, service := range []string{"taken", "again"} {
		if _, err := nodes[0].Deploy(t, service, ours); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := nodes[0].Engine.Remove("again", api.RemoveRequest{}); err != nil {
		t.Fatal(err)
	}
	nodes[1].refuses.Store(&api.Error{Code: api.CodeNotHealthy, Message: "it cannot be reached from here"})

	joins := boot(t, open(t), "proxy-3", timing, alone.disk.copy(), fleet.Imports{Services: []string{"web", "held", "taken", "again"}})
	served := map[string]string{"web": "v1 " + apps["web"] + " false", "held": "v1 " + apps["held"] + " true", "again": "v1 " + apps["again"] + " false"}
	wantServed := func() {
		t.Helper()
		for service, want := range served {
			if got := joins.Serves(service); got != want {
				t.Errorf("it serves %q as %s, want %q", got, service, want)
			}
		}
	}
	wantServed()
	Await(t, "it says why the fleet does not take them", func() bool {
		imports := joins.Agent.Status().Imports
		for _, i := range imports {
			if !strings.Contains(i.Reason, "proxy-2 says: it cannot be reached from here; nothing has changed") {
				return false
			}
		}
		return len(imports) == len(served) && joins.Agent.Ready()
	})
	wantServed()
	for service := range served {
		Converged(t, nodes, service, "")
	}
	nodes[1].refuses.Store(nil)

	nodes = append(nodes, joins)
	served["taken"] = "v1 " + ours + " false"
	for service, want := range served {
		for _, n := range nodes {
			Await(t, n.Name+" serves "+service+" as "+want, func() bool { return n.Serves(service) == want })
		}
	}
	Await(t, "nothing is left", func() bool { return len(joins.Agent.Status().Imports) == 0 })
	for i, n := range nodes {
		if _, err := n.Deploy(t, "web", App(t)); err != nil {
			t.Errorf("by %s: %v", nodes[i].Name, err)
		}
	}
}

// ImportedByHand tests that a service which the others of a fleet cannot serve can be deployed and removed by the proxy
// that has it.
func ImportedByHand(t *testing.T, timing Timing, open func(t *testing.T) fleet.Store) {
	alone := Start(t, NewMemory(), "alone", timing)
	for _, service := range []string{"web", "shop"} {
		if _, err := alone.Deploy(t, service, App(t)); err != nil {
			t.Fatal(err)
		}
	}
	alone.Agent.Stop()
	nodes := StartAll(t, 2, timing, open)
	nodes[0].refuses.Store(&api.Error{Code: api.CodeNotHealthy, Message: "it cannot be reached from here"})
	joins := boot(t, open(t), "proxy-3", timing, alone.disk.copy(), fleet.Imports{Services: []string{"web", "shop"}})
	Await(t, "both are refused", func() bool {
		imports := joins.Agent.Status().Imports
		return len(imports) == 2 && imports[0].Reason != "" && imports[1].Reason != ""
	})
	if _, err := joins.Engine.Remove("shop", api.RemoveRequest{}); err != nil {
		t.Error(err)
	}
	nodes[0].refuses.Store(nil)
	next := App(t)
	if _, err := joins.Deploy(t, "web", next); err != nil && api.ErrorCode(err) != api.CodeSuperseded {
		t.Error(err)
	}
	Await(t, "nothing is left", func() bool { return len(joins.Agent.Status().Imports) == 0 })
	Converged(t, append(nodes, joins), "shop", "")
}

// ImportedOnce tests that a service which the fleet has removed does not come back by a proxy that has not noted yet that it was
// one of the fleet.
func ImportedOnce(t *testing.T, timing Timing, open func(t *testing.T) fleet.Store) {
	alone := Start(t, NewMemory(), "alone", timing)
	if _, err := alone.Deploy(t, "web", App(t)); err != nil {
		t.Fatal(err)
	}
	alone.Agent.Stop()
	nodes := StartAll(t, 2, timing, open)
	if _, err := nodes[0].Deploy(t, "shop", App(t)); err != nil {
		t.Fatal(err)
	}
	base := nodes[0].Engine.Revision("shop")
	joins := boot(t, open(t), "proxy-3", timing, alone.disk.copy(), fleet.Imports{Services: []string{"web"}})
	Await(t, "all have it", func() bool { return nodes[0].Serves("web") != "" && nodes[1].Serves("web") != "" })
	stored := joins.disk.copy()
	joins.Agent.Stop()
	joins.Engine.Close()
	if err := nodes[0].Agent.Leave(t.Context()); err != nil { // so that nobody waits for the one that is off
		t.Fatal(err)
	}
	Await(t, "the proxy is missed", func() bool { return nodes[1].Misses("proxy-3") })
	if err := nodes[1].Agent.Forget(t.Context(), "proxy-3"); err != nil {
		t.Fatal(err)
	}
	if _, err := nodes[1].Engine.Remove("web", api.RemoveRequest{}); err != nil {
		t.Fatal(err)
	}
	joins = boot(t, open(t), "proxy-3", timing, stored, fleet.Imports{Services: []string{"web"}, Base: &base})
	Await(t, "it has caught up", joins.Agent.Ready)
	Converged(t, []*Node{nodes[1], joins}, "web", "")
}

// ImportedConflict tests that a proxy which has a host of another service of the fleet says so, goes on to serve what it has, and
// keeps nobody from anything else.
func ImportedConflict(t *testing.T, timing Timing, open func(t *testing.T) fleet.Store) {
	alone := Start(t, NewMemory(), "alone", timing)
	ours := App(t)
	if _, err := alone.DeployHost(t, "web", ours, "one.test"); err != nil {
		t.Fatal(err)
	}
	alone.Agent.Stop()
	nodes := StartAll(t, 2, timing, open)
	if _, err := nodes[0].DeployHost(t, "shop", App(t), "one.test"); err != nil {
		t.Fatal(err)
	}
	joins := boot(t, open(t), "proxy-3", timing, alone.disk.copy(), fleet.Imports{Services: []string{"web"}})
	Await(t, "it says what is wrong", func() bool {
		return strings.Contains(joins.Agent.Status().Problem, "the service web, which this proxy has had before, has a route of the fleet's service shop")
	})
	next := App(t)
	if _, err := nodes[0].Deploy(t, "other", next); err != nil {
		t.Error(err)
	}
	Await(t, "it serves what else there is", func() bool { return joins.ServesTarget("other", next) })
	if !joins.ServesTarget("web", ours) || joins.Serves("shop") != "" || joins.Agent.Ready() {
		t.Errorf("it serves %q and %q", joins.Serves("web"), joins.Serves("shop"))
	}
}
