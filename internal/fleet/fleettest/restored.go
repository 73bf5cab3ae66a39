package fleettest

import (
	"slices"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/fleet"
)

// Restored tests that a store which has lost its data is not taken for a new one, and that it gets them back
// from a proxy. lose has the store lose them.
func Restored(t *testing.T, timing Timing, open func(t *testing.T) fleet.Store, lose func()) {
	nodes := StartAll(t, 3, timing, open)
	a, b := App(t), App(t)
	for _, target := range []string{b, a} {
		if _, err := nodes[1].Deploy(t, "web", target); err != nil {
			t.Fatal(err)
		}
	}
	if restored, err := nodes[1].Agent.Restore(t.Context()); err != nil || len(restored) > 0 {
		t.Fatal(restored, err)
	}
	lose()
	const problem = "does not have what this proxy serves: web"
	for _, n := range nodes {
		Await(t, n.Name+" sees it", func() bool { return strings.Contains(n.Agent.Status().Problem, problem) })
	}
	if _, err := nodes[0].Deploy(t, "web", b); api.ErrorCode(err) != api.CodeFleet || !strings.Contains(err.Error(), problem) {
		t.Error(err)
	}
	nodes[2] = nodes[2].Restart(t, open(t), timing)
	Await(t, "it is seen after a start", func() bool { return strings.Contains(nodes[2].Agent.Status().Problem, problem) })
	if nodes[2].Agent.Ready() {
		t.Error("it is ready")
	}
	Converged(t, nodes, "web", "v2 "+a+" false")

	restored, err := nodes[1].Agent.Restore(t.Context())
	if err != nil || !slices.Equal(restored, []string{"web"}) {
		t.Fatal(restored, err)
	}
	for _, n := range nodes {
		Await(t, n.Name+" has no problem", func() bool { return n.Agent.Status().Problem == "" && n.Agent.Ready() })
	}
	if _, err := nodes[0].Deploy(t, "web", b); err != nil {
		t.Fatal(err)
	}
	Converged(t, nodes, "web", "v3 "+b+" false")
}
