package proxy

import (
	"fmt"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
)

func TestRecentDeploymentsAreRemembered(t *testing.T) {
	l := newDeploymentLog()
	running := newDeployment(api.Spec{})
	l.add(running)
	var all []*Deployment
	for range 2 * recentDeployments {
		d := newDeployment(api.Spec{})
		d.finish(nil, 1)
		l.add(d)
		all = append(all, d)
	}
	if l.byID[running.id] != running || len(l.order) != recentDeployments {
		t.Errorf("one deployment runs; %d are remembered, by their id that one: %v", len(l.order), l.byID[running.id])
	}
	running.finish(nil, 1)
	last := newDeployment(api.Spec{})
	l.add(last)
	if len(l.order) != recentDeployments || len(l.byID) != recentDeployments {
		t.Errorf("%d deployments are remembered, %d by their id, want %d", len(l.order), len(l.byID), recentDeployments)
	}
	if l.byID[all[0].id] != nil || l.byID[running.id] != nil || l.byID[last.id] != last || l.byID[all[len(all)-1].id] == nil {
		t.Error("the oldest are not the ones that are forgotten")
	}
}

func TestUnknownDeploymentIsNotFound(t *testing.T) {
	_, err := NewEngine(EngineOptions{}).Deployment("\x1b[31m")
	wantCode(t, err, api.CodeNotFound)
	if got, want := err.Error(), "there is no deployment ?[31m, or it is too old to be remembered"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestOutcomesAreCounted(t *testing.T) {
	e := NewEngine(EngineOptions{})
	for i, state := range []api.State{api.StateDone, api.StateFailed, api.StateSuperseded, api.StateCancelled, api.StateReverted, api.StateUndecided} {
		for range i + 1 {
			e.outcomes.count(state)
		}
	}
	if got, want := fmt.Sprint(e.DeploymentCounts()), "map[cancelled:4 done:1 failed:2 reverted:5 superseded:3 undecided:6]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
