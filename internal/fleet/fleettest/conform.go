package fleettest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/fleet"
)

// Conform tests what every store promises. open returns a store of a proxy, each time of another one, on a
// store that nobody else uses.
func Conform(t *testing.T, open func(t *testing.T) fleet.Store) {
	for name, test := range map[string]func(t *testing.T, a, b fleet.Store){
		"NewestPlanAloneIsDecidedOnce":          newestPlanAloneIsDecidedOnce,
		"PlanOfAnOlderStateIsSuperseded":        planOfAnOlderStateIsSuperseded,
		"RouteIsOneServices":                    routeIsOneServices,
		"RemovedServiceGivesItsRoutesBack":      removedServiceGivesItsRoutesBack,
		"WithdrawnPlanIsGone":                   withdrawnPlanIsGone,
		"AbandonedPlanIsNeverDecided":           abandonedPlanIsNeverDecided,
		"WhatWasWrittenIsRead":                  whatWasWrittenIsRead,
		"LeaseTellsOfTheOneBefore":              leaseTellsOfTheOneBefore,
		"OfRivalDecisionsOneStands":             ofRivalDecisionsOneStands,
		"DifferentServicesAreDecidedAtOnce":     differentServicesAreDecidedAtOnce,
		"NamesMayHaveWhatNamesOfServicesMayNot": oddNames,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t), open(t)) })
	}
}

func propose(t *testing.T, b fleet.Store, p fleet.Plan) fleet.Plan {
	t.Helper()
	revision, err := b.Propose(t.Context(), p)
	if err != nil || revision == 0 {
		t.Fatal(revision, err)
	}
	p.Revision = revision
	return p
}

func decide(t *testing.T, b fleet.Store, p fleet.Plan) uint64 {
	t.Helper()
	revision, err := b.Decide(t.Context(), p)
	if err != nil || revision == 0 {
		t.Fatal(revision, err)
	}
	return revision
}

func look(t *testing.T, b fleet.Store) fleet.State {
	t.Helper()
	s, err := b.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newestPlanAloneIsDecidedOnce(t *testing.T, a, b fleet.Store) {
	first := propose(t, a, fleet.Plan{ID: "newest-1", Service: "newest"})
	next := propose(t, b, fleet.Plan{ID: "newest-2", Service: "newest"})
	if next.Revision <= first.Revision {
		t.Error(first.Revision, next.Revision)
	}
	if again := propose(t, b, fleet.Plan{ID: "newest-2", Service: "newest"}); again.Revision != next.Revision {
		t.Error("an answer that was lost is another plan")
	}
	if _, err := a.Decide(t.Context(), first); !errors.Is(err, fleet.ErrSuperseded) {
		t.Error(err)
	}
	revision := decide(t, b, next)
	if again := decide(t, b, next); again != revision {
		t.Error(revision, again)
	}
	if d, ok := look(t, a).Decision("newest"); !ok || d.Plan != "newest-2" || d.Revision != revision {
		t.Errorf("%+v", d)
	}
}

func planOfAnOlderStateIsSuperseded(t *testing.T, a, b fleet.Store) {
	decide(t, a, propose(t, a, fleet.Plan{ID: "older-1", Service: "older"}))
	if _, err := b.Propose(t.Context(), fleet.Plan{ID: "older-2", Service: "older"}); !errors.Is(err, fleet.ErrSuperseded) {
		t.Error(err)
	}
	d, _ := look(t, b).Decision("older")
	decide(t, b, propose(t, b, fleet.Plan{ID: "older-3", Service: "older", Base: d.Revision}))
}

func routeIsOneServices(t *testing.T, a, b fleet.Store) {
	routes := []api.Route{{Host: "route.test", Prefix: "/"}}
	one := propose(t, a, fleet.Plan{ID: "route-1", Service: "route-one", Routes: routes})
	two := propose(t, b, fleet.Plan{ID: "route-2", Service: "route-two", Routes: routes})
	decide(t, a, one)
	_, err := b.Decide(t.Context(), two)
	if claimed, ok := errors.AsType[*fleet.ClaimedError](err); !ok || claimed.Service != "route-one" || claimed.Route != routes[0] {
		t.Error(err)
	}
}

func removedServiceGivesItsRoutesBack(t *testing.T, a, b fleet.Store) {
	routes := []api.Route{{Host: "removed.test", Prefix: "/"}}
	base := decide(t, a, propose(t, a, fleet.Plan{ID: "removed-1", Service: "removed-one", Document: []byte("1"), Routes: routes}))
	decide(t, a, propose(t, a, fleet.Plan{ID: "removed-2", Service: "removed-one", Base: base}))
	decide(t, b, propose(t, b, fleet.Plan{ID: "removed-3", Service: "removed-two", Document: []byte("2"), Routes: routes}))
	if d, ok := look(t, b).Decision("removed-one"); !ok || d.Document != nil {
		t.Errorf("%+v", d)
	}
}

func withdrawnPlanIsGone(t *testing.T, a, b fleet.Store) {
	p := propose(t, a, fleet.Plan{ID: "gone-1", Service: "gone"})
	for range 2 {
		if err := a.Withdraw(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Decide(t.Context(), p); !errors.Is(err, fleet.ErrAbandoned) {
		t.Error(err)
	}
	if _, ok := look(t, b).Plan("gone"); ok {
		t.Error("the plan is there")
	}
	older := propose(t, a, fleet.Plan{ID: "gone-2", Service: "gone"})
	newer := propose(t, b, fleet.Plan{ID: "gone-3", Service: "gone"})
	if err := a.Withdraw(t.Context(), older); err != nil {
		t.Fatal(err)
	}
	decide(t, b, newer)
	if err := b.Withdraw(t.Context(), newer); err != nil {
		t.Fatal(err)
	}
	if d, ok := look(t, a).Decision("gone"); !ok || d.Plan != "gone-3" {
		t.Errorf("%+v", d)
	}
}

func abandonedPlanIsNeverDecided(t *testing.T, a, b fleet.Store) {
	abandon := func(p fleet.Plan) {
		t.Helper()
		for range 2 {
			if err := b.Abandon(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
	}
	p := propose(t, a, fleet.Plan{ID: "abandoned-1", Service: "abandoned"})
	abandon(p)
	if _, err := a.Decide(t.Context(), p); !errors.Is(err, fleet.ErrAbandoned) {
		t.Error(err)
	}
	next := propose(t, a, fleet.Plan{ID: "abandoned-2", Service: "abandoned"})
	abandon(p) // which says nothing of the next one
	revision := decide(t, a, next)
	abandon(next)
	if newest, ok := look(t, a).Plan("abandoned"); !ok || newest.ID != next.ID {
		t.Errorf("a plan that is decided is abandoned: %+v", newest)
	}
	if again := decide(t, a, next); again != revision {
		t.Error(revision, again)
	}
}

func whatWasWrittenIsRead(t *testing.T, a, b fleet.Store) {
	p := propose(t, a, fleet.Plan{
		ID: "read-1", Service: "read", Coordinator: "proxy-1", Document: []byte("{}"), Routes: []api.Route{{Host: "read.test", Prefix: "/a"}}, Force: true, Timeout: 7,
	})
	read, ok := look(t, b).Plan("read")
	if !ok || read.ID != p.ID || read.Revision != p.Revision || read.Coordinator != p.Coordinator || string(read.Document) != "{}" || !slices.Equal(read.Routes, p.Routes) || !read.Force || read.Timeout != 7 {
		t.Errorf("%+v", read)
	}
	for _, phase := range []api.FleetPhase{api.FleetPrepared, api.FleetApplied} {
		for _, proxy := range []string{"proxy-1", "proxy-2"} {
			if err := b.Ack(t.Context(), fleet.Ack{Plan: p.ID, Step: api.FleetStep{Proxy: proxy, Phase: phase}}); err != nil {
				t.Fatal(err)
			}
		}
		acks, err := a.Acks(t.Context(), p.ID)
		if err != nil || len(acks) != 2 || acks[0].Step.Phase != phase || acks[1].Step.Phase != phase {
			t.Errorf("%+v, %v", acks, err)
		}
	}
	if acks, err := a.Acks(t.Context(), "read"); err != nil || len(acks) != 0 {
		t.Errorf("%+v, %v", acks, err)
	}
	decide(t, a, p)
	d, _ := look(t, b).Decision("read")
	if string(d.Document) != "{}" || !slices.Equal(d.Routes, p.Routes) {
		t.Errorf("%+v", d)
	}
}

func leaseTellsOfTheOneBefore(t *testing.T, a, b fleet.Store) {
	beat := func(on fleet.Store, l fleet.Lease) fleet.Lease {
		t.Helper()
		before, err := on.Beat(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		return before
	}
	read := func() (of fleet.Lease) {
		t.Helper()
		all, err := b.Leases(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range all {
			if l.Name == "lease" {
				of = l
			}
		}
		return of
	}
	first, next := fleet.Lease{Name: "lease", Incarnation: "a", Beats: 1}, fleet.Lease{Name: "lease", Incarnation: "a", Beats: 2, Version: "v1", Ready: true, Report: `{"applied":7}`}
	if before := beat(a, first); before != (fleet.Lease{}) {
		t.Errorf("%+v", before)
	}
	if before := beat(a, next); before != first || read() != next {
		t.Errorf("%+v, %+v", before, read())
	}
	other := fleet.Lease{Name: "lease", Incarnation: "b", Beats: 1}
	if before := beat(b, other); before != next {
		t.Errorf("%+v", before)
	}
	if before := beat(a, next); before != other {
		t.Errorf("%+v", before)
	}
	for range 2 {
		if err := b.Leave(t.Context(), "lease"); err != nil {
			t.Fatal(err)
		}
	}
	if l := read(); l != (fleet.Lease{}) {
		t.Errorf("%+v", l)
	}
}

func ofRivalDecisionsOneStands(t *testing.T, a, b fleet.Store) {
	// Of two that propose before either decides, the newer is decided, or the older before the newer was there.
	ids := []string{"rival-1", "rival-2"}
	var won [2]bool
	var rivals sync.WaitGroup
	for i, on := range []fleet.Store{a, b} {
		rivals.Go(func() {
			p := fleet.Plan{ID: ids[i], Service: "rival"}
			revision, err := on.Propose(t.Context(), p)
			if p.Revision = revision; err == nil {
				_, err = on.Decide(t.Context(), p)
			}
			if won[i] = err == nil; err != nil && !errors.Is(err, fleet.ErrSuperseded) {
				t.Error(err)
			}
		})
	}
	rivals.Wait()
	if won[0] == won[1] {
		t.Fatal(won)
	}
	if d, _ := look(t, a).Decision("rival"); (d.Plan == ids[0]) != won[0] {
		t.Errorf("%v, and %+v", won, d)
	}
}

func differentServicesAreDecidedAtOnce(t *testing.T, a, b fleet.Store) {
	names := []string{"at-once-1", "at-once-2", "at-once-3", "at-once-4", "at-once-5", "at-once-6"}
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() {
			on := []fleet.Store{a, b}[i%2]
			p := fleet.Plan{ID: name, Service: name, Routes: []api.Route{{Host: name + ".test", Prefix: "/"}}}
			revision, err := on.Propose(context.WithoutCancel(t.Context()), p)
			if p.Revision = revision; err == nil {
				_, err = on.Decide(context.WithoutCancel(t.Context()), p)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	s := look(t, b)
	for _, name := range names {
		if d, ok := s.Decision(name); !ok || d.Plan != name {
			t.Errorf("%+v", d)
		}
	}
}

func oddNames(t *testing.T, a, b fleet.Store) {
	const name = "proxy.example/*> %"
	l := fleet.Lease{Name: name, Incarnation: "a", Beats: 1}
	if _, err := a.Beat(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	p := propose(t, a, fleet.Plan{ID: "odd.*>", Service: "odd"})
	if err := b.Ack(t.Context(), fleet.Ack{Plan: p.ID, Step: api.FleetStep{Proxy: name}}); err != nil {
		t.Fatal(err)
	}
	acks, err := a.Acks(t.Context(), p.ID)
	if err != nil || len(acks) != 1 || acks[0].Step.Proxy != name {
		t.Errorf("%+v, %v", acks, err)
	}
	leases, err := b.Leases(t.Context())
	if err != nil || !slices.Contains(leases, l) {
		t.Errorf("%+v, %v", leases, err)
	}
	if err := b.Leave(t.Context(), name); err != nil {
		t.Error(err)
	}
}
