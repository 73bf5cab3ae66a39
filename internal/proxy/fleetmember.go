package proxy

import (
	"context"
	"fmt"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// preparation is a release that this proxy is ready to serve, if the fleet decides so.
type preparation struct {
	// proposal is the id of what the release is of.
	proposal string
	release  *release
}

// Prepare gets this proxy ready for what another proxy of the fleet proposes: it asks the targets
// from this place and gets the certificates. Nothing changes by it. What it holds is given up by
// [Engine.GiveUp], or becomes the release that serves. An error is why this proxy cannot serve it:
// an [api.Error], or the cause of ctx.
func (e *Engine) Prepare(ctx context.Context, p Proposal) error {
	e.mu.Lock()
	takes := e.life.now().takesOperations()
	e.mu.Unlock()
	if !takes {
		return &api.Error{Code: api.CodeStopping, Message: "the proxy is stopping"}
	}
	if p.Document == nil {
		return api.ValidateServiceName(p.Service)
	}
	s, err := decodeDocument(p.Service, p.Document)
	if err != nil {
		return fmt.Errorf("reading the release: %w", err)
	}
	if s.Rollout != nil {
		return api.Invalid("a fleet has no rollouts")
	}
	if err := e.notServed(p.Service, s.active.Routes); err != nil {
		return err
	}
	e.mu.Lock()
	before := e.services[p.Service].lineup()
	e.mu.Unlock()
	if before.stored(&s.storedRelease) != nil {
		return nil // a change that keeps the release, such as a pause
	}
	r := e.restoreRelease(&s.storedRelease, s.active)
	if err := e.makeReady(ctx, r, p, s.Certified); err != nil {
		e.discard(r)
		return err
	}
	e.mu.Lock()
	older := e.prepared[p.Service]
	e.prepared[p.Service] = &preparation{proposal: p.Deployment, release: r}
	e.mu.Unlock()
	if older != nil {
		e.discard(older.release)
	}
	return nil
}

// makeReady does for a release what a deployment does before it commits.
func (e *Engine) makeReady(ctx context.Context, r *release, p Proposal, certified bool) error {
	if r.handlers != nil {
		if err := e.chains.make(r.handlers); err != nil {
			return err
		}
	}
	spec := *r.Spec
	spec.WaitForCertificates = certified
	if e.opts.Refuse != nil {
		if err := e.opts.Refuse(spec); err != nil {
			return err
		}
	}
	if err := e.checkCertificates(spec); err != nil {
		return err
	}
	d := newDeploymentAs(p.Deployment, spec)
	stop := context.AfterFunc(ctx, func() { d.abort(context.Cause(ctx)) })
	defer stop()
	if !p.Force {
		if _, err := d.passGate(r); err != nil {
			return err
		}
	}
	return e.certify(d, r)
}

// notServed returns an [api.Error] if another service serves any of the routes. Those that only
// deployments want are not looked at: which of these gets them is what the fleet decides.
func (e *Engine) notServed(name string, routes []api.Route) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, svc := range e.services {
		if svc.name == name || svc.active == nil {
			continue
		}
		if shared := common(routes, svc.active.routes); len(shared) > 0 {
			return &api.Error{
				Code:    api.CodeRouteConflict,
				Message: fmt.Sprintf("%s belongs to the service %s", describeRoute(shared[0]), svc.name),
			}
		}
	}
	return nil
}

// GiveUp gives up what was prepared for a proposal.
func (e *Engine) GiveUp(service, proposal string) {
	e.mu.Lock()
	held := e.prepared[service]
	if held == nil || held.proposal != proposal {
		e.mu.Unlock()
		return
	}
	delete(e.prepared, service)
	e.mu.Unlock()
	e.discard(held.release)
}

// discard gives up a release that never served.
func (e *Engine) discard(r *release) {
	e.forgetCertificates(r)
	r.Close()
}

// takePrepared returns the release that was prepared as it is stored; nil if there is none.
func (e *Engine) takePrepared(service string, from *storedRelease) *release {
	e.mu.Lock()
	held := e.prepared[service]
	e.mu.Unlock()
	if held == nil {
		return nil
	}
	r := (&lineup{active: held.release}).stored(from)
	if r == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.prepared[service] != held {
		return nil
	}
	delete(e.prepared, service)
	return r
}

// Revision returns the revision of the decision of the fleet that a service is of; 0 if there is
// none.
func (e *Engine) Revision(service string) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.revisions[service]
}

// ApplyDecision stores what the fleet has decided, and makes the service so, unless that or
// something newer has been applied. Without a document, the service is removed. The errors are those
// of [Engine.Apply] and of the store; then the service is as before.
func (e *Engine) ApplyDecision(name string, document []byte, revision uint64) error {
	e.mu.Lock()
	at, known := e.revisions[name], e.services[name] != nil
	e.mu.Unlock()
	switch {
	case at >= revision:
		return nil
	case document == nil && !known, document != nil && e.isStoredAs(name, document): // as after a start
		e.mu.Lock()
		e.follows(name, revision)
		e.mu.Unlock()
		return nil
	}
	var before *release
	err := e.apply(name, document, func(svc *service) (bool, error) {
		e.mu.Lock()
		newer := e.revisions[svc.name] < revision
		before = svc.release()
		e.mu.Unlock()
		if !newer {
			return false, nil
		}
		return true, e.keep(svc.name, document)
	})
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.follows(name, revision)
	now := e.services[name].lineup()
	e.mu.Unlock()
	if now != nil && now.active != before {
		e.remember(before, now.active, time.Now().UTC())
	}
	return nil
}

// keep stores a document, or deletes what is stored of a service.
func (e *Engine) keep(service string, document []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	if document == nil {
		return e.currentStore().Delete(ctx, service)
	}
	return e.currentStore().Save(ctx, service, document, func(b []byte) bool {
		_, err := decodeDocument(service, b)
		return err == nil
	})
}

// AwaitDrains waits until this process holds nothing of any release that has left a service. It
// returns how they have drained, as one; the cause of ctx if that ends first.
func (e *Engine) AwaitDrains(ctx context.Context, service string) (api.Drain, error) {
	var all api.Drain
	e.mu.Lock()
	var draining []*release
	if svc := e.services[service]; svc != nil {
		draining = append(draining, svc.draining...)
	}
	e.mu.Unlock()
	for _, r := range draining {
		if err := r.awaitDrain(ctx, nil); err != nil {
			return all, err
		}
		d := r.drain.result
		all.Release, all.Targets = max(all.Release, d.Release), append(all.Targets, d.Targets...)
		all.Add(d)
	}
	return all, nil
}
