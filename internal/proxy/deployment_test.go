package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestFinalStatesAreFinal(t *testing.T) {
	for state, want := range map[State]bool{
		StateValidated: false, StateProbing: false, StateHealthy: false, StateSwitched: false, StateDraining: false,
		StateDone: true, StateFailed: true, StateSuperseded: true, StateCancelled: true,
	} {
		if state.Final() != want {
			t.Errorf("%s is final: %v, want %v", state, state.Final(), want)
		}
	}
}

func TestEveryErrorHasAnOutcome(t *testing.T) {
	for code, want := range map[Code]State{
		CodeNotHealthy: StateFailed, CodeStorage: StateFailed, CodeSuperseded: StateSuperseded,
		CodeCancelled: StateCancelled, CodeStopping: StateCancelled,
		CodeDrainTimeout: StateDone, // the new release does serve
	} {
		if state, err := outcome(&Error{Code: code}); state != want || err.Code != code {
			t.Errorf("%s ends as %s with %v, want %s", code, state, err, want)
		}
	}
	if state, err := outcome(nil); state != StateDone || err != nil {
		t.Errorf("success ends as %s with %v", state, err)
	}
	if state, err := outcome(errors.New("bo\x1bom")); state != StateFailed || err.Code != CodeInternal || err.Message != "bo?om" {
		t.Errorf("another error ends as %s with %+v", state, err)
	}
}

// TestPointOfNoReturn races the commit with everything that could end a
// deployment: one of them wins, and both know which.
func TestPointOfNoReturn(t *testing.T) {
	for range 500 {
		d := newDeployment(spec{})
		var all sync.WaitGroup
		var committed bool
		all.Go(func() { committed = d.pointOfNoReturn() })
		all.Go(d.Cancel)
		all.Go(func() { d.abort(&Error{Code: CodeSuperseded}) })
		all.Wait()
		if ended := d.ctx.Err() != nil; ended == committed {
			t.Fatalf("committed %v, ended %v", committed, ended)
		}
		if code := ErrorCode(context.Cause(d.ctx)); !committed && code != CodeCancelled && code != CodeSuperseded {
			t.Fatalf("ended because of %q", code)
		}
	}
}

// TestStatusSurvivesJSON because the command line reads what the API writes.
func TestStatusSurvivesJSON(t *testing.T) {
	now := time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)
	before := DeploymentStatus{
		ID: "x", Service: "app", State: StateFailed, Targets: []string{"web:1"}, Started: now, Ended: &now,
		Probes: []ProbeReport{{Target: "web:1", Probes: 2, Elapsed: Duration(time.Second), Failures: []ProbeFailure{{"connection refused", 2}}}},
		Error:  &Error{Code: CodeNotHealthy, Message: "m", Hint: "h"},
	}
	b, err := json.Marshal(before)
	if err != nil {
		t.Fatal(err)
	}
	var after DeploymentStatus
	if err := json.Unmarshal(b, &after); err != nil {
		t.Fatal(err)
	}
	again, _ := json.Marshal(after)
	if string(again) != string(b) || !strings.Contains(string(b), `"elapsed":"1s"`) {
		t.Errorf("%s becomes %s", b, again)
	}
}
