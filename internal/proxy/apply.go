package proxy

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Apply makes a service what a document says that another proxy has stored, by one store. It
// is for a proxy that follows another one: that one has asked the targets and has stored the
// document, so nothing is asked or stored here. Without a document, the service goes.
//
// Releases that serve here already, and are in the document, go on as they are. Those that are
// not in it any more begin to drain; see [Engine.DrainOld]. Deployments of the service that
// have not begun to commit end. Routes of the document that other services have here are
// theirs no more: the document is the newer one. A rollout is shown, and its weight counts, but
// it does not go on by itself: the next document says how it has.
//
// An error means that nothing has changed: the document cannot be read ([ErrNewerFormat] if it
// is of a newer version), other services cannot keep the rest of their routes, or the engine
// stops.
func (e *Engine) Apply(name string, document []byte) error { return e.apply(name, document, nil) }

// apply is Apply, also for what a fleet has decided: kept then has it stored, once nobody else
// changes the service, and reports false if that has been applied already. It may be nil.
func (e *Engine) apply(name string, document []byte, kept func(svc *service) (bool, error)) error {
	if err := api.ValidateServiceName(name); err != nil {
		return err
	}
	var s *stored
	if document != nil {
		decoded, err := decodeDocument(name, document)
		if err != nil {
			return err
		}
		s = &decoded
	}
	svc, err := e.beginApply(name, s, kept != nil)
	if err != nil {
		return err
	}
	defer e.operated(svc)
	if s == nil {
		return e.applyRemoval(svc, kept)
	}
	return e.applyLineup(svc, s, kept)
}

// beginApply begins an operation on a service that need not exist, and ends deployments of it, unless what a fleet has
// decided would not end them on the proxy that was asked either, such as a step of a rollout. s is what the service is to
// be, nil for none.
func (e *Engine) beginApply(name string, s *stored, decided bool) (*service, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.life.now().takesOperations() {
		return nil, &api.Error{Code: api.CodeStopping, Message: "the proxy is stopping"}
	}
	svc := e.service(name)
	e.operations.Add(1)
	svc.operations++
	if decided && s != nil && s.newest() <= svc.lastVersion && !s.rollsBack(svc.lineup()) {
		return svc, nil
	}
	for _, d := range slices.Clone(svc.deployments) {
		d.abort(&api.Error{Code: api.CodeSuperseded, Message: "another proxy has changed " + name + " meanwhile; this deployment has changed nothing"})
	}
	return svc, nil
}

// applyRemoval has a service go.
func (e *Engine) applyRemoval(svc *service, kept func(*service) (bool, error)) error {
	svc.committing <- struct{}{}
	defer func() { <-svc.committing }()
	if kept != nil {
		if changes, err := kept(svc); !changes || err != nil {
			return err
		}
	}
	e.mu.Lock()
	l := e.unroute(svc)
	e.mu.Unlock()
	if l == nil {
		return nil
	}
	if kept != nil {
		e.followRollout(svc, l, nil, position{}, 0)
	} else {
		e.endFollowed(l)
	}
	for _, r := range l.releases() {
		e.forgetCertificates(r)
	}
	e.drainAside(svc, l.releases(), l.active.Spec.Options.Drain(), e.publishDrainedOf(svc))
	e.feed.publish(api.Event{Kind: api.EventRemoved, Followed: true, Service: svc.name})
	return nil
}

// applyLineup makes a service what was stored.
func (e *Engine) applyLineup(svc *service, s *stored, kept func(*service) (bool, error)) error {
	unlock := e.lockRoutes(svc, s.active.Routes)
	defer unlock()
	e.mu.Lock()
	before := svc.lineup()
	e.mu.Unlock()
	if kept != nil {
		if changes, err := kept(svc); !changes || err != nil {
			return err
		}
	}
	next := e.restoreLineup(s, before)
	var at position
	if kept != nil {
		at = next.goesOnAs(before)
	}
	e.mu.Lock()
	taken, err := e.checkTakeover(next.active.Spec, true)
	if err != nil {
		e.mu.Unlock()
		for _, r := range next.without(before) {
			r.Close()
		}
		return err
	}
	fresh := next.without(before)
	e.reserveFor(svc.name, fresh, taken)
	for _, r := range fresh {
		r.Traffic = svc.traffic
	}
	svc.lastVersion = max(svc.lastVersion, s.LastRelease)
	var left []*release
	var recovered []api.Target
	if before != nil {
		if !slices.Contains(next.releases(), before.active) && slices.Contains(fresh, next.active) {
			recovered = next.active.Inherit(before.active.Release)
		}
		left = before.without(next)
	}
	start := time.Now()
	e.switchTo(svc, next, taken)
	took := api.Since(start)
	e.leave(svc, left)
	running := e.life.now() == lifeRunning
	e.mu.Unlock()

	if running { // if it has not started, Start does it
		for _, r := range fresh {
			r.StartMonitor(0)
		}
		e.keepCertificates(next.active)
	}
	for _, t := range recovered {
		e.logHealth(next.active.Release, t, api.HealthHealthy, "")
	}
	for _, r := range left {
		e.forgetCertificates(r)
	}
	limits := next.active.Spec.Options.Drain()
	for _, t := range taken {
		e.forgetCertificates(t.from)
		if t.from != nil && t.left == nil {
			e.drainAside(t.svc, []*release{t.from}, limits, e.publishDrainedOf(t.svc))
		}
	}
	report, isTold := e.publishDrainedOf(svc), false
	switch {
	case kept != nil:
		if before != nil && before.rollout != nil && before.rollout.d != nil && !before.rollout.isOver() {
			report, isTold = before.rollout.d.drained, next.active == before.rollout.next
		}
		e.rememberFollowed(before, next)
		e.followRollout(svc, before, next, at, took)
	case before != nil:
		e.endFollowed(before)
	}
	e.drainAside(svc, left, limits, report)
	e.log().Info("service follows another proxy", zap.String("service", svc.name), zap.Int("release", next.active.Version))
	if !isTold && (before == nil || before.active != next.active) {
		e.feed.publish(api.Event{
			Kind: api.EventSwitched, Followed: true, Service: svc.name, Release: next.active.Version, Previous: before.activeVersion(),
			SwitchTime: took, TakenOver: summary(taken),
		})
	}
	return nil
}

// lockRoutes takes the commit slots of a service and of all that hold any of the routes.
func (e *Engine) lockRoutes(svc *service, routes []api.Route) (unlock func()) {
	for {
		e.mu.Lock()
		holders := e.holders(svc.name, routes)
		e.mu.Unlock()
		unlock, _ := lockCommits(context.Background(), append(slices.Clone(holders), svc)) // which never ends
		e.mu.Lock()
		same := slices.Equal(holders, e.holders(svc.name, routes))
		e.mu.Unlock()
		if same {
			return unlock
		}
		unlock()
	}
}

// reserveFor makes the routes of releases those of the named service, also those that others
// have. Engine.mu must be held.
func (e *Engine) reserveFor(name string, releases []*release, taken []takeover) {
	for _, r := range releases {
		seized := e.seize(name, r.Spec.Routes, taken)
		for _, route := range r.Spec.Routes {
			if !slices.Contains(seized, route) {
				e.own(name, route)
			}
		}
	}
}

// endFollowed ends the rollout of a line-up that another proxy has changed.
func (e *Engine) endFollowed(l *lineup) {
	if l.rollout != nil {
		l.rollout.finish(end{how: replaced, reason: "another proxy changed the service", previousStays: true})
	}
}

// publishDrainedOf returns what tells those who follow all of the drains of a service.
func (e *Engine) publishDrainedOf(svc *service) func(api.Drain) {
	return func(d api.Drain) {
		ev := drainedEvent(svc.name, d)
		ev.Followed = true
		e.feed.publish(ev)
	}
}
