package proxy

import (
	"net/netip"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// What the proxies of a fleet have counted is added up, if it is of the same release, phase and era, and what a process
// that is gone has counted stays.
func TestCountsOfTheProxiesOfAFleetAddUp(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a, b := testkit.StartApp(t, "a"), testkit.StartApp(t, "b")
	e.deploy(requestFor("app", a))
	e.try(b, forAnHour)
	e.mu.Lock()
	r := e.services["app"].lineup().rollout
	e.mu.Unlock()
	testkit.WaitFor(t, "the release to be judged", func() bool { return r.trial() != nil })
	r.mu.Lock()
	r.evidence.next.count(netip.MustParseAddr("192.0.2.1"), 1, forward.Outcome{Failed: true})
	r.mu.Unlock()

	own := r.trial()
	told := func(id string, requests int64, change func(*Trial)) Told {
		trial := Trial{Release: 2, Phase: api.PhaseWatch, Counted: Counted{Next: Counts{Requests: requests, JudgedRequests: requests}, LastHour: Counts{Requests: 100 * requests}}}
		if change != nil {
			change(&trial)
		}
		return Told{ID: id, Report: Report{Services: []ServiceReport{{Service: "app", Trial: &trial}}}}
	}
	want := func(what string, requests int64) {
		t.Helper()
		s := r.status(false)
		if s.Evidence.Requests != own.Next.Requests+requests {
			t.Errorf("%s: %d requests are counted, want %d and the own %d", what, s.Evidence.Requests, requests, own.Next.Requests)
		}
	}
	if own.Next.Requests != 1 || own.Next.Failures != 1 {
		t.Fatalf("%+v", own)
	}
	r.hear("me", []Told{told("x", 10, nil), told("y", 5, nil)})
	want("two others", 15)
	r.hear("me", []Told{told("x", 12, nil), told("y", 5, func(t *Trial) { t.Release = 1 })})
	want("one has counted more, and one tells of another release", 17)
	r.hear("me", []Told{told("x2", 1, nil), told("y", 6, nil)})
	want("one was restarted", 19)
	if gone := r.trial().Gone; len(gone) != 1 || gone["x"].Next.Requests != 12 {
		t.Errorf("the others are told of %+v", gone)
	}
	r.hear("me", []Told{told("x2", 1, func(t *Trial) {
		t.Gone = map[string]Counted{"me": {Next: Counts{Requests: 1000}}, "x": {Next: Counts{Requests: 12}}, "y": {Next: Counts{Requests: 3}}, "z": {Next: Counts{Requests: 30}}}
	}), told("y", 6, nil)})
	want("one that is not known is gone", 49)
	r.hear("me", []Told{told("x2", 2, nil), told("y", 7, func(t *Trial) { t.Phase = api.PhaseCanary })})
	want("one is in another phase", 50)
	if s := r.status(false); s.Evidence.PreviousRequests < 100 {
		t.Errorf("the last hour of the others does not count: %+v", s.Evidence)
	}
	r.hear("me", []Told{told("x2", 4, func(t *Trial) { t.Era = 1 }), told("y", 7, nil)})
	own = r.trial()
	want("the proxy that decides has begun anew", 4)
	if own.Next.Requests != 0 || own.Era != 1 {
		t.Errorf("%+v", own)
	}
}

// A proxy whose rollout stands where another one has decided keeps its own clock, and else takes the time that was
// decided.
func TestClockOfAProxyGoesOnOverDecisions(t *testing.T) {
	t.Parallel()
	r := &rollout{at: position{Phase: api.PhaseWatch, Remaining: api.Duration(time.Second), Timed: true, Turn: 3}, shared: true}
	if _, moved := r.adopt(position{Phase: api.PhaseWatch, Remaining: api.Duration(time.Minute), Timed: true, Turn: 3}); moved || r.position().Remaining != api.Duration(time.Second) {
		t.Errorf("%t, %+v", moved, r.position())
	}
	if _, moved := r.adopt(position{Phase: api.PhaseWatch, Remaining: api.Duration(time.Minute), Timed: true, Turn: 4}); !moved || r.position().Remaining != api.Duration(time.Minute) {
		t.Errorf("%t, %+v", moved, r.position())
	}
	undo := r.move(func(at position) position { at.Paused = "by hand"; return at })
	if r.position().Turn != 5 {
		t.Errorf("%+v", r.position())
	}
	undo()
	if r.position().Turn != 4 || r.position().Paused != "" {
		t.Errorf("%+v", r.position())
	}
}

// What a release has had in a step counts on if the next step could not be decided: it would look as if hardly anybody had used
// it.
func TestStepThatIsNotDecidedKeepsItsRequests(t *testing.T) {
	t.Parallel()
	next := func(at position) position { at.Step++; return at }
	r := &rollout{at: position{Phase: api.PhaseCanary}, shared: true, stepRequests: 7}
	undo := r.move(next)
	if undo(); r.stepRequests != 7 || r.position().Step != 0 {
		t.Errorf("%d requests came before the step, at %+v", r.stepRequests, r.position())
	}
	undo = r.move(next)
	r.begin() // as after an outage
	if undo(); r.stepRequests != 0 {
		t.Errorf("%d requests came before the step, which was begun anew", r.stepRequests)
	}
}
