package fleet_test

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/fleet/fleettest"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// picture says what a proxy has of the service web, in all that every proxy has to have.
func picture(n *fleettest.Node) string {
	s, err := n.Engine.Service("web")
	if err != nil || s.Active == nil {
		return "nothing"
	}
	text := fmt.Sprintf("v%d, held %t", s.Active.Release, s.Hold != nil)
	if s.Candidate != nil {
		text += fmt.Sprintf(", canary v%d", s.Candidate.Release)
	}
	if s.Standby != nil {
		text += fmt.Sprintf(", standby v%d", s.Standby.Release)
	}
	if r := s.Rollout; r != nil {
		text += fmt.Sprintf(", %s %d", r.Phase, r.Step)
		if r.Phase != api.PhaseSlowStart {
			text += " " + r.Weight.String()
		}
	}
	return text
}

// TestAnyOrderOfOperationsIsTheSameOnAllProxies has proxies do operations in any order, some of them at the same time, and
// compares what they have after each.
func TestAnyOrderOfOperationsIsTheSameOnAllProxies(t *testing.T) {
	rnd := testkit.NewRand(t)
	nodes := fleettest.StartAll(t, 3, fleettest.InProcess, inMemory())
	apps := []string{fleettest.App(t), fleettest.App(t), fleettest.App(t)}
	hour, short := api.Duration(time.Hour), api.Duration(50*time.Millisecond)
	change := func(n *fleettest.Node, req api.RolloutRequest) error {
		_, err := n.Engine.Rollout("web", req)
		return err
	}
	operations := map[string]func(n *fleettest.Node, req api.DeployRequest, full bool) error{
		"deploy":  deployAs(t, func(*api.DeployRequest) {}),
		"keep":    deployAs(t, func(req *api.DeployRequest) { req.Keep = true }),
		"watch":   deployAs(t, func(req *api.DeployRequest) { req.Watch = &hour }),
		"watched": deployAs(t, func(req *api.DeployRequest) { req.Watch = &short }),
		"canary":  deployAs(t, func(req *api.DeployRequest) { req.Canary = "10%" }),
		"steps":   deployAs(t, func(req *api.DeployRequest) { req.Steps = []string{"5%/1h", "50%"}; req.Watch = &hour }),
		"stepped": deployAs(t, func(req *api.DeployRequest) {
			req.Steps, req.OnInconclusive = []string{"5%/50ms", "50%/50ms"}, api.InconclusivePromote
		}),
		"slow": deployAs(t, func(req *api.DeployRequest) { req.SlowStart = &hour }),
		"rollback": func(n *fleettest.Node, _ api.DeployRequest, _ bool) error {
			d, err := n.Engine.Rollback(t.Context(), "web", api.RollbackRequest{})
			if err == nil {
				_, err = d.Wait(t.Context())
			}
			return err
		},
		"promote": func(n *fleettest.Node, _ api.DeployRequest, full bool) error {
			return change(n, api.RolloutRequest{Action: api.ActionPromote, Full: full})
		},
		"abort": func(n *fleettest.Node, _ api.DeployRequest, _ bool) error {
			return change(n, api.RolloutRequest{Action: api.ActionAbort})
		},
		"pause": func(n *fleettest.Node, _ api.DeployRequest, _ bool) error {
			return change(n, api.RolloutRequest{Action: api.ActionPause})
		},
		"resume": func(n *fleettest.Node, _ api.DeployRequest, _ bool) error {
			return change(n, api.RolloutRequest{Action: api.ActionResume})
		},
		"set": func(n *fleettest.Node, _ api.DeployRequest, full bool) error {
			weight := api.PercentOf(0.3)
			if full {
				weight = api.PercentOf(0.7)
			}
			return change(n, api.RolloutRequest{Action: api.ActionSet, Weight: &weight})
		},
		"hold": func(n *fleettest.Node, _ api.DeployRequest, _ bool) error {
			_, err := n.Engine.Hold(t.Context(), "web", api.Paused, api.HoldRequest{})
			return err
		},
		"serve": func(n *fleettest.Node, _ api.DeployRequest, _ bool) error {
			_, err := n.Engine.Resume("web", "")
			return err
		},
	}
	names := slices.Sorted(maps.Keys(operations))
	// One whose rival has come later, and has been withdrawn since, is told that its proposal was given up.
	known := []api.Code{api.CodeNotFound, api.CodeInvalid, api.CodeReverted, api.CodeSuperseded, api.CodeUndecided, api.CodeFleet}
	for round := range 40 {
		var done []string
		var all sync.WaitGroup
		for range 1 + rnd.IntN(2) {
			i, name, full := rnd.IntN(len(nodes)), names[rnd.IntN(len(names))], rnd.IntN(2) == 0
			if round == 0 {
				name = "deploy"
			}
			req := api.DeployRequest{Service: "web", Targets: []string{apps[rnd.IntN(len(apps))]}, Hosts: []string{"web.test"}}
			done = append(done, fmt.Sprintf("%s on %s", name, nodes[i].Name))
			all.Go(func() {
				began := time.Now()
				if err := operations[name](nodes[i], req, full); err != nil && !slices.Contains(known, api.ErrorCode(err)) {
					t.Errorf("round %d: %s on %s: %v", round, name, nodes[i].Name, err)
				}
				if took := time.Since(began); took > 15*time.Second {
					t.Errorf("round %d: %s on %s took %s", round, name, nodes[i].Name, took)
				}
			})
		}
		all.Wait()
		what := fmt.Sprintf("round %d: all proxies have the same after %v", round, done)
		fleettest.Await(t, what, func() bool {
			first := picture(nodes[0])
			return picture(nodes[1]) == first && picture(nodes[2]) == first
		})
	}
}

// deployAs returns what deploys in a way that how says, until it has ended or the release is tried.
func deployAs(t *testing.T, how func(*api.DeployRequest)) func(*fleettest.Node, api.DeployRequest, bool) error {
	return func(n *fleettest.Node, req api.DeployRequest, _ bool) error {
		how(&req)
		d, err := n.Engine.Deploy(req.Patch())
		if err != nil {
			return err
		}
		for {
			s := d.Status()
			if s.Ended != nil {
				_, err := d.Wait(t.Context())
				return err
			}
			if s.Rollout != nil { // it goes on by itself
				return nil
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
}
