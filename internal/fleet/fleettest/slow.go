package fleettest

import (
	"fmt"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/fleet"
)

// SlowProxy tests that an upgrade of one proxy does not wait until another one goes by a change that is decided: neither of an
// operation nor of a step of a rollout.
func SlowProxy(t *testing.T, timing Timing, open func(*testing.T) func(*testing.T) fleet.Store) {
	hour := api.Duration(time.Hour)
	for name, change := range map[string]func(t *testing.T, n *Node, bad *trialApp) (want string){
		"Operation": func(t *testing.T, n *Node, _ *trialApp) string {
			go func() { _, _ = n.Engine.Rollout("web", api.RolloutRequest{Action: api.ActionPromote}) }()
			return "v2"
		},
		"Rollout": func(t *testing.T, n *Node, bad *trialApp) string {
			awaitJudged(t, []*Node{n})
			bad.fails.Store(true)
			for i := range 8 {
				n.visit(t, fmt.Sprintf("192.0.2.%d", i))
			}
			return "v1"
		},
	} {
		t.Run(name, func(t *testing.T) {
			timing := timing
			timing.Finish = 20 * time.Second
			nodes := StartAll(t, 3, timing, open(t))
			old, next := startTrialApp(t, "old"), startTrialApp(t, "next")
			if _, err := nodes[0].try(t, old, nil); err != nil {
				t.Fatal(err)
			}
			d, err := nodes[0].Engine.Deploy(api.DeployRequest{Service: "web", Targets: []string{next.addr}, Hosts: []string{"web.test"}, Watch: &hour, Detach: true}.Patch())
			if err != nil {
				t.Fatal(err)
			}
			defer d.Cancel()
			awaitLineup(t, nodes, "v2, standby v1, watch 100%")
			goOn := make(chan struct{})
			defer close(goOn)
			nodes[2].disk.at(false, func() error { <-goOn; return nil })

			want := change(t, nodes[0], next)
			awaitLineup(t, nodes[:2], want)
			followed := make(chan struct{})
			go func() { nodes[0].Engine.Follow(); close(followed) }()
			select {
			case <-followed:
			case <-time.After(timing.Finish / 2):
				t.Error("the upgrade waits for the proxy that is slow")
			}
			if got := nodes[2].lineup(); got != "v2, standby v1, watch 100%" {
				t.Errorf("the proxy that is to be slow has %q", got)
			}
		})
	}
}
