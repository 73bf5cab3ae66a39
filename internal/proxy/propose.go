package proxy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// operationTimeout bounds how long the proxies of a fleet may take to get ready for an operation
// that has no targets asked.
const operationTimeout = 15 * time.Second

// Join makes the engine one of a fleet's. It must be called before [Engine.Load].
func (e *Engine) Join(f Fleet) { e.fleet = f }

// checkFleet refuses what a fleet does not do.
func (e *Engine) checkFleet(s api.Spec) error {
	switch {
	case e.fleet == nil && len(s.WithoutProxies) > 0:
		return api.Invalid("the proxy is not part of a fleet, so there is no other one to do without").WithHint("leave out %s", api.Field("without"))
	case e.fleet == nil:
		return nil
	case s.Rollout != nil:
		err := api.Invalid("a fleet brings a release into service at once, on all of its proxies: it has no canary, no watch and no slow start, and keeps no release ready")
		return err.WithHint("leave out %s, %s, %s and %s", api.Field("canary"), api.Field("steps"), api.Field("watch"), api.Field("keep"))
	case s.TakeOver:
		err := api.Invalid("a fleet does not move routes from one service to another in one step")
		return err.WithHint("remove the other service first, and leave out %s", api.Field("take_over"))
	}
	return nil
}

// follows notes that a service is what the fleet has decided. Engine.mu must be held.
func (e *Engine) follows(service string, revision uint64) {
	if e.fleet != nil {
		e.revisions[service] = max(e.revisions[service], revision)
	}
}

// propose has the other proxies of the fleet get ready.
func (o *operation) propose() error {
	e, svc, d, next := o.e, o.svc, o.d, o.next
	if e.fleet == nil {
		return nil
	}
	// An older deployment that commits goes first: this one then builds on what it has decided.
	unlock, err := lockCommits(d.ctx, []*service{svc})
	if err != nil {
		return err
	}
	unlock()
	e.mu.Lock()
	next.Version, next.DeployedAt, next.Traffic = svc.lastVersion+1, time.Now().UTC(), svc.traffic
	if o.old = svc.release(); o.old != nil {
		next.takenFrom = o.old.takenFrom
	}
	l, last, base := o.lineup(), svc.lastVersion, e.revisions[svc.name]
	e.mu.Unlock()
	document, err := encodeLineup(l, last)
	if err != nil {
		return err
	}
	timeout := time.Duration(d.spec.Options.DeployTimeout)
	if d.spec.WaitForCertificates && d.spec.Options.TLS != nil {
		timeout += certifyTimeoutFor(len(d.spec.Hosts))
	}
	ballot, err := e.fleet.Propose(d.ctx, Proposal{
		Deployment: d.id, Service: svc.name, Document: document, Routes: next.Spec.Routes, Base: base,
		Force: d.spec.Force, Without: d.spec.WithoutProxies, Timeout: timeout + operationTimeout,
	}, d.fleetStep)
	if err == nil {
		o.ballot = ballot
	}
	return err
}

// spread waits until all proxies of the fleet serve the release.
func (o *operation) spread() error {
	o.unfinished = o.ballot.Applied(context.Background())
	return nil // the old release drains here, whatever the others do
}

// drainedEverywhere waits until no proxy of the fleet holds anything of the old release.
func (o *operation) drainedEverywhere() error {
	if o.unfinished != nil {
		return o.unfinished
	}
	steps, err := o.ballot.Drained(context.Background(), o.d.spec.Options.Drain())
	if err == nil && o.d.spec.FailOnCut {
		for _, s := range steps {
			if s.Drain != nil && !s.Drain.Clean() {
				return drainError(o.svc.name+" on "+s.Proxy, *s.Drain)
			}
		}
	}
	return err
}

// agree has the fleet, if there is one, decide that a service has another line-up, or for nil that
// it is removed. The commit slot must be held. The ballot is never nil.
func (e *Engine) agree(svc *service, l *lineup) (Ballot, uint64, error) {
	if e.fleet == nil {
		return noBallot{}, 0, nil
	}
	e.mu.Lock()
	last, base := svc.lastVersion, e.revisions[svc.name]
	e.mu.Unlock()
	p := Proposal{Deployment: newDeploymentID(), Service: svc.name, Base: base, Force: true, Timeout: operationTimeout}
	if l != nil {
		document, err := encodeLineup(l, last)
		if err != nil {
			return noBallot{}, 0, err
		}
		p.Document, p.Routes = document, l.active.Spec.Routes
	}
	ballot, err := e.fleet.Propose(context.Background(), p, func(api.FleetStep) {})
	if err != nil {
		return noBallot{}, 0, err
	}
	revision, err := ballot.Decide()
	if err != nil {
		ballot.Close()
		return noBallot{}, 0, err
	}
	return ballot, revision, nil
}

// decidedMeanwhile says that another change of a service was decided first.
func decidedMeanwhile(name string) error {
	return &api.Error{Code: api.CodeSuperseded, Message: fmt.Sprintf("another change of %s was decided meanwhile; this deployment has changed nothing", name)}
}

// notKept says that a change was not made, because this proxy could not store it, as err says. In a fleet
// it is decided by then, and only this proxy does not go by it.
func (e *Engine) notKept(err error) error {
	if e.fleet == nil {
		return err
	}
	return &api.Error{
		Code:    api.CodeFleetIncomplete,
		Message: "the fleet has decided on the change and the other proxies go by it, but this one does not yet: " + api.AsError(err).Message,
		Hint:    "this proxy tries again by itself; do not remove the instances of the release before",
		Cause:   err,
	}
}

// fleetStep records how far another proxy has come.
func (d *Deployment) fleetStep(s api.FleetStep) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.status.State.Final() {
		all := slices.DeleteFunc(slices.Clone(d.status.Fleet), func(o api.FleetStep) bool { return o.Proxy == s.Proxy })
		i, _ := slices.BinarySearchFunc(all, s.Proxy, func(o api.FleetStep, name string) int { return cmp.Compare(o.Proxy, name) })
		d.status.Fleet = slices.Insert(all, i, s)
	}
	d.sendLocked(api.Event{Kind: api.EventFleet, Fleet: &s})
}
