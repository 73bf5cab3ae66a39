package proxy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Remove ends the deployments of a service, forgets its state, takes its routes
// out of the table and drains it, and waits for older releases that still drain.
// Once it has begun it goes on, whatever happens to the caller. It returns an
// [api.Error] with [api.CodeDrainTimeout] if something had to be cut and the request wants
// to fail then: the service is gone all the same.
func (e *Engine) Remove(name string, req api.RemoveRequest) (api.Removal, error) {
	removal := api.Removal{Service: name}
	if err := req.Validate(); err != nil {
		return removal, err
	}
	svc, err := e.operate(name, req.IfMatch)
	if err != nil {
		return removal, err
	}
	defer e.operated(svc)
	e.mu.Lock()
	for _, d := range slices.Clone(svc.deployments) {
		d.abort(&api.Error{Code: api.CodeSuperseded, Message: fmt.Sprintf("%s was removed", name)})
	}
	e.mu.Unlock()

	svc.committing <- struct{}{}
	for _, t := range slices.Clone(svc.unstored) {
		e.storeLeftOf(svc, t)
	}
	e.mu.Lock()
	if err = e.mayCommit(); err == nil {
		err = e.checkGeneration(svc, name, req.IfMatch) // which others may have changed meanwhile
	}
	e.mu.Unlock()
	var l *lineup
	ballot := Ballot(noBallot{})
	if err == nil {
		l, ballot, err = e.forget(svc)
	}
	defer ballot.Close()
	if l != nil && l.rollout != nil {
		l.rollout.finish(end{how: removed, reason: "the service was removed"})
	}
	<-svc.committing
	if err != nil {
		return removal, err
	}
	applied := ballot.Applied(context.Background())
	e.log().Info("service removed", zap.String("service", name))
	var limits api.DrainLimits
	var old *release
	if l != nil {
		old = l.active
		limits = req.Limits(old.Spec.Options)
		e.drainAside(svc, l.releases()[1:], limits, func(api.Drain) {})
		for _, r := range l.releases() {
			e.forgetCertificates(r)
		}
	}
	err = e.drainAll(svc, old, limits, req.FailOnCut, nil, func(d api.Drain) { removal.Drained, removal.Cut = &d, api.CutOf(d) })
	if l != nil { // drainAll has waited for all of them
		var drains []api.Drain
		for _, r := range l.releases() {
			if drains = append(drains, r.drain.result); req.FailOnCut && err == nil && !r.drain.result.Clean() {
				err = drainError(name, r.drain.result)
			}
		}
		removal.Cut = api.CutOf(drains...)
	}
	// That a proxy holds something, or may, is worse than that something was cut.
	incomplete := applied
	if incomplete == nil {
		var steps []api.FleetStep
		if steps, incomplete = ballot.Drained(context.Background(), limits); req.FailOnCut {
			err = cutSomewhere(name, err, steps)
		}
	}
	if incomplete != nil {
		err = incomplete
	}
	e.feed.publish(api.Event{Kind: api.EventRemoved, Service: name, Drain: removal.Drained})
	if cut, ok := errors.AsType[*api.Error](err); ok && cut.Code == api.CodeDrainTimeout {
		cut.Message = name + " is removed, but " + cut.Message
	}
	return removal, err
}

// forget deletes the state of a service and takes it out of the table. For what it returns see
// unroute.
func (e *Engine) forget(svc *service) (*lineup, Ballot, error) {
	ballot, revision, err := e.agree(svc, nil, false, false)
	if err != nil {
		return nil, ballot, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	if err := e.currentStore().Delete(ctx, svc.name); err != nil {
		err := &api.Error{
			Code:    api.CodeStorage,
			Message: fmt.Sprintf("deleting the state of %s failed: %s", svc.name, api.Printable(err.Error())),
			Hint:    "check the permissions of the storage directory; nothing has changed",
			Cause:   err,
		}
		return nil, ballot, e.notKept(err)
	}
	e.tellFollowers(svc.name, nil)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.follows(svc.name, revision)
	return e.unroute(svc), ballot, nil
}

// unroute takes a service out of the table. It returns the line-up that it had, whose releases
// are now unreachable and begin to drain, or nil. Engine.mu must be held.
func (e *Engine) unroute(svc *service) *lineup {
	svc.broken, svc.known = nil, nil
	if svc.active == nil {
		return nil
	}
	l := svc.lineup()
	e.table.Store(e.table.Load().without(svc.active))
	svc.active = nil
	svc.generation++
	l.hold.end()
	e.leave(svc, l.releases())
	return l
}
