package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

func TestFinalStatesAreFinal(t *testing.T) {
	for state, want := range map[api.State]bool{
		api.StateValidated: false, api.StateProbing: false, api.StateHealthy: false, api.StateSwitched: false, api.StateDraining: false,
		api.StateDone: true, api.StateFailed: true, api.StateSuperseded: true, api.StateCancelled: true,
	} {
		if state.Final() != want {
			t.Errorf("%s is final: %v, want %v", state, state.Final(), want)
		}
	}
}

func TestEveryErrorHasAnOutcome(t *testing.T) {
	for code, want := range map[api.Code]api.State{
		api.CodeNotHealthy: api.StateFailed, api.CodeStorage: api.StateFailed, api.CodeSuperseded: api.StateSuperseded,
		api.CodeCancelled: api.StateCancelled, api.CodeStopping: api.StateCancelled,
		api.CodeDrainTimeout: api.StateDone, // the new release does serve
	} {
		if state, err := outcome(&api.Error{Code: code}); state != want || err.Code != code {
			t.Errorf("%s ends as %s with %v, want %s", code, state, err, want)
		}
	}
	if state, err := outcome(nil); state != api.StateDone || err != nil {
		t.Errorf("success ends as %s with %v", state, err)
	}
	if state, err := outcome(errors.New("bo\x1bom")); state != api.StateFailed || err.Code != api.CodeInternal || err.Message != "bo?om" {
		t.Errorf("another error ends as %s with %+v", state, err)
	}
}

// TestPointOfNoReturn races the commit with everything that could end a
// deployment: one of them wins, and both know which.
func TestPointOfNoReturn(t *testing.T) {
	for range 500 {
		d := newDeployment(api.Spec{})
		var all sync.WaitGroup
		var committed bool
		all.Go(func() { committed = d.pointOfNoReturn() })
		all.Go(d.Cancel)
		all.Go(func() { d.abort(&api.Error{Code: api.CodeSuperseded}) })
		all.Wait()
		if ended := d.ctx.Err() != nil; ended == committed {
			t.Fatalf("committed %v, ended %v", committed, ended)
		}
		if code := api.ErrorCode(context.Cause(d.ctx)); !committed && code != api.CodeCancelled && code != api.CodeSuperseded {
			t.Fatalf("ended because of %q", code)
		}
	}
}

// TestStatusSurvivesJSON because the command line reads what the API writes.
func TestStatusSurvivesJSON(t *testing.T) {
	now := time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)
	before := api.DeploymentStatus{
		ID: "x", Service: "app", State: api.StateFailed, Targets: []string{"web:1"}, Started: now, Ended: &now,
		Probes: []api.ProbeReport{{Target: "web:1", Probes: 2, Elapsed: api.Seconds(time.Second), Failures: []api.ProbeFailure{{Reason: "connection refused", Count: 2}}}},
		Error:  &api.Error{Code: api.CodeNotHealthy, Message: "m", Hint: "h"},
	}
	b, err := json.Marshal(before)
	if err != nil {
		t.Fatal(err)
	}
	var after api.DeploymentStatus
	if err := json.Unmarshal(b, &after); err != nil {
		t.Fatal(err)
	}
	again, _ := json.Marshal(after)
	if string(again) != string(b) || !strings.Contains(string(b), `"elapsed_seconds":1`) {
		t.Errorf("%s becomes %s", b, again)
	}
}
