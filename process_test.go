package parachute

import (
	"testing"

	"github.com/parachute-proxy/parachute/internal/handoff"
)

// A new process that is told to stop while it boots must not take over: its sockets, which are those
// of the process before, would go with it.
func TestProcessThatEndsDoesNotLead(t *testing.T) {
	t.Parallel()
	p := newProcess()
	p.Follow()
	p.exit()
	if err := p.Lead(2, new(handoff.Followers)); err == nil || p.is(leading) {
		t.Errorf("it leads: %t, %v", p.is(leading), err)
	}
	next := newProcess()
	next.Follow()
	if err := next.Lead(2, new(handoff.Followers)); err != nil || !next.is(leading) {
		t.Errorf("a process that does not end: %v", err)
	}
}
