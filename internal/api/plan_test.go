package api

import (
	"slices"
	"testing"
)

// What serves nothing is not as anybody wants it.
func TestPlanOfWhatServesNothingIsAChange(t *testing.T) {
	s := deployed(t)
	if plan := NewPlan(3, s, *s); plan.Changed() || len(plan.Changes) != 0 {
		t.Errorf("a service that serves what is asked for: %+v", plan)
	}
	if plan := NewPlan(0, s, *s); !plan.Changed() {
		t.Errorf("a service that serves nothing is unchanged: %+v", plan)
	}
}

// The authorities are read by a deploy alone, so another file of the same name needs one.
func TestPlanTellsOfAnotherFileOfAuthorities(t *testing.T) {
	const changed = "target-ca: the file has changed"
	now := Spec{Targets: []Target{{Scheme: "https", Address: "a:1"}}, Options: Options{TargetCA: "/ca.pem"}, TargetCA: "old"}
	renewed, moved, gone := now, now, now
	renewed.TargetCA = "new"
	moved.TargetCA, moved.Options.TargetCA = "new", "/other.pem"
	gone.TargetCA, gone.Options.TargetCA = "", ""
	for _, c := range []struct {
		next Spec
		want []string
	}{
		{now, []string{}},
		{renewed, []string{changed}},
		{moved, []string{"target-ca: /ca.pem -> /other.pem"}},
		{gone, []string{"target-ca: /ca.pem -> none"}},
	} {
		if plan := NewPlan(1, &now, c.next); !slices.Equal(plan.Changes, c.want) {
			t.Errorf("changes %q, want %q", plan.Changes, c.want)
		}
	}
}
