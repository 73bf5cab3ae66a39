package api

import "testing"

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
