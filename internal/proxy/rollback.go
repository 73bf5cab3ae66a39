package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Rollback accepts a deployment of a release that has served before: its targets and all of
// its settings. It has the errors of [Engine.Deploy], and one with [api.CodeNotFound] if the
// release is not remembered.
func (e *Engine) Rollback(ctx context.Context, name string, req api.RollbackRequest) (*Deployment, error) {
	active, err := e.serving(name)
	if err != nil {
		return nil, err
	}
	if d, err := e.turnBack(name, req); d != nil || err != nil {
		return d, err
	}
	past, err := e.pastRelease(ctx, name, active.Version, req.To)
	if err != nil {
		return nil, err
	}
	r, err := storedRequest(name, past.Targets, past.ReadTargets, past.Hosts, past.Options)
	if err != nil {
		return nil, &api.Error{Code: api.CodeInternal, Message: fmt.Sprintf("v%d of %s cannot be read: %s", past.Release, name, api.Printable(err.Error())), Cause: err}
	}
	r.Reset, r.FailOnCut, r.Detach = true, req.FailOnCut, req.Detach
	r.Note = &api.Note{Label: cmp.Or(req.Note.Label, past.Note.Label), Commit: cmp.Or(req.Note.Commit, past.Note.Commit), By: req.Note.By}
	return e.deploy(r.Patch(), past.Release, req.IfMatch)
}

// turnBack goes back in an instant, if the release before is in the line-up still: because it
// is ready to serve again, or because it serves while a share of the clients gets another one.
// It returns nil if there is no such release, or if the request is for another one.
func (e *Engine) turnBack(name string, req api.RollbackRequest) (*Deployment, error) {
	svc, err := e.operate(name, req.IfMatch)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	l := svc.lineup()
	var to, from *release
	switch {
	case l == nil:
	case l.candidate != nil:
		to, from = l.active, l.candidate.release
	case l.standby != nil:
		to, from = l.standby, l.active
	}
	if to == nil || req.To != 0 && req.To != to.Version {
		e.mu.Unlock()
		e.operated(svc)
		return nil, nil
	}
	for _, other := range svc.deployments {
		other.abort(&api.Error{Code: api.CodeSuperseded, Message: fmt.Sprintf("%s was rolled back; this deployment has changed nothing", name)})
	}
	spec := *to.Spec
	spec.Detach, spec.FailOnCut, spec.Force = req.Detach, req.FailOnCut, false
	d := newDeployment(spec)
	d.status.From, d.committing, d.inService = to.Version, true, true
	e.begin(svc, d)
	e.mu.Unlock()
	go func() {
		defer e.operated(svc)
		e.end(svc, d, e.turn(svc, l, d, from, to, req.IfMatch))
	}()
	return d, nil
}

// turn has a release serve again in place of another one, and waits until that has drained.
func (e *Engine) turn(svc *service, l *lineup, d *Deployment, from, to *release, ifMatch string) error {
	var left []*release
	var err error
	done := func(took api.Seconds) {
		if l.candidate == nil {
			d.switched(from, to, nil, took, false)
			return
		}
		d.wentBack(from, to, rolledBackByHand) // to has served most clients all the time
	}
	if l.rollout != nil {
		left, err = e.revert(svc, l.rollout, reversion{reason: rolledBackByHand, ifMatch: ifMatch, done: done})
	} else {
		left, err = e.takeBack(svc, l, ifMatch, done)
	}
	if errors.Is(err, errRolloutOver) {
		return &api.Error{Code: api.CodeSuperseded, Message: fmt.Sprintf("another operation has changed %s first; this one has changed nothing", svc.name), Hint: "see what serves now, and decide anew"}
	}
	if err != nil {
		return err
	}
	drains, cuts, err := e.awaitLeft(svc, left)
	for _, drain := range drains {
		d.drained(drain)
	}
	for _, s := range cuts {
		d.fleetStep(s)
	}
	if err != nil {
		return err
	}
	if d.spec.FailOnCut {
		return cutSomewhere(svc.name, d.cutError(), cuts)
	}
	return nil
}

// pastRelease returns the release with a number, or for 0 the last one before the active one
// that was trusted.
func (e *Engine) pastRelease(ctx context.Context, name string, active, number int) (*pastRelease, error) {
	h := e.loadHistory(ctx, name)
	var known []string
	for i := range h.Releases {
		switch p := &h.Releases[i]; {
		case p.Release == active:
		case number == 0 && p.Release < active && p.Outcome == "", p.Release == number:
			return p, nil
		default:
			known = append(known, fmt.Sprintf("v%d", p.Release))
		}
	}
	switch {
	case number == active:
		return nil, api.Invalid("%s v%d serves already", name, active)
	case number == 0:
		return nil, &api.Error{Code: api.CodeNotFound, Message: fmt.Sprintf("there is no release before %s v%d to go back to", name, active)}
	}
	err := &api.Error{Code: api.CodeNotFound, Message: fmt.Sprintf("v%d of %s is not remembered", number, name)}
	if len(known) > 0 {
		slices.Reverse(known)
		err.Hint = "remembered are " + strings.Join(known, ", ")
	}
	return nil, err
}
