package proxy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
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
	case s.TakeOver:
		err := api.Invalid("a fleet does not move routes from one service to another in one step; nothing has changed")
		return err.WithHint("leave out %s; %s", api.Field("take_over"), freeFirst("the other service"))
	}
	return nil
}

// freeFirst is how a route of a service, which owner names, is moved to another one in a fleet.
func freeFirst(owner string) api.Advice {
	return api.Advise("to move the route here, first deploy %s with the routes that it keeps, or remove it if it keeps none: nothing serves the route in between", owner)
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
	if o.old == nil && next.from != 0 {
		e.mu.Unlock()
		return removedMeanwhile(svc.name)
	}
	l, last, base := o.lineup(), svc.lastVersion, e.revisions[svc.name]
	o.proposed = l
	e.mu.Unlock()
	document, err := encodeLineup(l, last)
	if err != nil {
		return err
	}
	ballot, err := e.fleet.Propose(d.ctx, Proposal{
		Deployment: d.id, Service: svc.name, Document: document, Routes: next.Spec.Routes, Base: base,
		Force: d.spec.Force, Without: d.spec.WithoutProxies, Timeout: proposalTimeout(d.spec),
	}, d.fleetStep)
	if err == nil {
		o.ballot = ballot
	}
	return err
}

// proposalTimeout bounds how long the other proxies may take to get ready for a release.
func proposalTimeout(s api.Spec) time.Duration {
	timeout := time.Duration(s.Options.DeployTimeout) + operationTimeout
	if s.WaitForCertificates && s.Options.TLS != nil {
		timeout += certifyTimeoutFor(len(s.Hosts))
	}
	return timeout
}

// removedMeanwhile is the error of a rollback of a service that another proxy of the fleet has removed since it began: it must
// not bring the service back.
func removedMeanwhile(service string) error {
	return &api.Error{Code: api.CodeSuperseded, Message: service + " was removed meanwhile; this rollback has changed nothing"}
}

// spread waits until all proxies of the fleet serve the release.
func (o *operation) spread() error {
	o.unfinished = o.ballot.Applied(context.Background())
	if o.rollout != nil {
		o.ballot.Close() // the changes of the rollout have ballots of their own
	}
	return nil // the old release drains here, whatever the others do
}

// drainedEverywhere waits until no proxy of the fleet holds anything of the old release. That one does, or may, is worse than
// that something was cut.
func (o *operation) drainedEverywhere() error {
	if o.unfinished != nil && o.rollout == nil {
		return o.unfinished
	}
	var steps []api.FleetStep
	var err error
	if o.rollout != nil {
		steps, err = o.e.awaitOthers(o.svc, o.d.spec.Options.Drain())
		steps = cutsOf(o.d.Status().Drained, steps)
		for _, s := range steps {
			o.d.fleetStep(s)
		}
	} else {
		steps, err = o.ballot.Drained(context.Background(), o.d.spec.Options.Drain())
	}
	if err == nil && o.d.spec.FailOnCut {
		err = cutSomewhere(o.svc.name, o.cut, steps)
	}
	return err
}

// cutSomewhere returns the error of a drain in which something had to be cut, by this proxy, as here says, or by other ones of
// the fleet; nil if nothing had to be.
func cutSomewhere(service string, here error, others []api.FleetStep) error {
	var all []api.Drain
	var where []string
	release := 0
	for _, s := range others {
		if s.Drain != nil && !s.Drain.Clean() {
			all, release = append(all, *s.Drain), max(release, s.Drain.Release)
			where = append(where, fmt.Sprintf("%s: %s", s.Proxy, api.CutOf(*s.Drain)))
		}
	}
	switch {
	case len(all) == 0:
		return here
	case here == nil:
		err := drainError(service, api.Drain{Release: release, CutRequests: api.CutOf(all...).Requests, CutStreams: api.CutOf(all...).Streams})
		err.Message += " (" + strings.Join(where, "; ") + ")"
		return err
	}
	err := *api.AsError(here)
	err.Message += "; other proxies of the fleet: " + strings.Join(where, "; ")
	return &err
}

// agree has the fleet, if there is one, decide that a service has another line-up, or for nil that
// it is removed. anyway and yields are those of [Proposal]. The commit slot must be held. The ballot is never nil.
func (e *Engine) agree(svc *service, l *lineup, anyway, yields bool) (Ballot, uint64, error) {
	if e.fleet == nil {
		return noBallot{}, 0, nil
	}
	e.mu.Lock()
	last, base := svc.lastVersion, e.revisions[svc.name]
	e.mu.Unlock()
	p := Proposal{Deployment: newDeploymentID(), Service: svc.name, Base: base, Force: true, Anyway: anyway, Yields: yields, Timeout: operationTimeout}
	if l != nil {
		document, err := encodeLineup(l, last)
		if err != nil {
			return noBallot{}, 0, err
		}
		p.Document, p.Routes = document, l.active.Spec.Routes
		if base == 0 { // the others do not have the service yet
			p.Force, p.Timeout = false, proposalTimeout(*l.active.Spec)
		}
	}
	ctx, cancel := e.untilStopped()
	defer cancel()
	ballot, err := e.fleet.Propose(ctx, p, func(api.FleetStep) {})
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
