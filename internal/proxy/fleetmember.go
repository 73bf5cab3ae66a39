package proxy

import (
	"context"
	"fmt"
	"maps"
	"slices"

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
	if err := e.notServed(p.Service, s.active.Routes); err != nil {
		return err
	}
	e.mu.Lock()
	before := e.services[p.Service].lineup()
	e.mu.Unlock()
	newest, spec := &s.storedRelease, s.active
	if s.candidate != nil {
		newest, spec = &s.Candidate.storedRelease, *s.candidate
		if before.stored(&s.storedRelease) == nil { // this proxy has not had the service at all
			active := e.restoreRelease(&s.storedRelease, s.active)
			err := e.makeReady(ctx, active, p, s.Certified)
			e.discard(active)
			if err != nil {
				return err
			}
		}
	}
	if before.stored(newest) != nil {
		return nil // a change that brings no release, such as a pause or a step of a rollout
	}
	r := e.restoreRelease(newest, spec)
	if err := e.makeReady(ctx, r, p, newest.Certified); err != nil {
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
	if holder, shared := e.holder(name, routes); holder != "" {
		return &api.Error{
			Code:    api.CodeRouteConflict,
			Message: fmt.Sprintf("%s belongs to the service %s", describeRoute(shared), holder),
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

// FleetRevisions returns the services that this proxy serves, each with the revision of the decision of
// the fleet that it is of; 0 for one that was stored, and that the fleet has not been asked about since the
// start.
func (e *Engine) FleetRevisions() map[string]uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	served := make(map[string]uint64)
	for name, svc := range e.services {
		if svc.active != nil {
			served[name] = e.revisions[name]
		}
	}
	return served
}

// Decisions returns the revisions of the decisions of the fleet that this proxy goes by, also those of services that were
// removed.
func (e *Engine) Decisions() map[string]uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.revisions)
}

// AdoptDecisions has the engine go by the decisions of another process of the proxy, whose services it serves.
func (e *Engine) AdoptDecisions(revisions map[string]uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for service, revision := range revisions {
		e.follows(service, revision)
	}
}

// FleetProposal returns what a service is, as a fleet decides it, without an id; nil if it is not served.
func (e *Engine) FleetProposal(name string) (*Proposal, error) {
	e.mu.Lock()
	svc := e.services[name]
	l := svc.lineup()
	if l == nil {
		e.mu.Unlock()
		return nil, nil
	}
	last, base := svc.lastVersion, e.revisions[name]
	e.mu.Unlock()
	document, err := encodeLineup(l, last)
	if err != nil {
		return nil, err
	}
	return &Proposal{Service: name, Document: document, Routes: l.active.Spec.Routes, Base: base, Timeout: proposalTimeout(*l.active.Spec)}, nil
}

// Holder returns another service than the named one that serves any of the routes; empty if none does.
func (e *Engine) Holder(name string, routes []api.Route) string {
	holder, _ := e.holder(name, routes)
	return holder
}

// holder is Holder with a route that the service has.
func (e *Engine) holder(name string, routes []api.Route) (holder string, shared api.Route) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, svc := range e.services {
		if svc.name == name || svc.active == nil {
			continue
		}
		if all := common(routes, svc.active.routes); len(all) > 0 {
			return svc.name, all[0]
		}
	}
	return "", shared
}

// Leaving are releases that have left a service, and may still have requests.
type Leaving struct {
	service  string
	releases []*release
}

// ApplyDecision stores what the fleet has decided, and makes the service so, unless that or
// something newer has been applied. Without a document, the service is removed. It returns the releases of
// the service that have left, for [Engine.AwaitDrains]. The errors are those of [Engine.Apply] and of the store;
// then the service is as before.
func (e *Engine) ApplyDecision(name string, document []byte, revision uint64) (Leaving, error) {
	e.mu.Lock()
	at, known := e.revisions[name], e.services[name] != nil
	e.mu.Unlock()
	isApplied := at >= revision ||
		document == nil && !known || document != nil && e.isStoredAs(name, document) // as after a start
	var before *lineup
	if !isApplied {
		err := e.apply(name, document, func(svc *service) (bool, error) {
			e.mu.Lock()
			newer := e.revisions[svc.name] < revision
			before = svc.lineup()
			e.mu.Unlock()
			if !newer {
				return false, nil
			}
			return true, e.keep(svc.name, document)
		})
		if err != nil {
			return Leaving{}, err
		}
	}
	e.mu.Lock()
	e.follows(name, revision)
	svc := e.services[name]
	left := Leaving{name, svc.leaving(before)}
	e.mu.Unlock()
	return left, nil
}

// leaving returns the releases that drain, and those of a line-up that have left since: one that had no requests has
// drained by now. s and before may be nil. Engine.mu must be held.
func (s *service) leaving(before *lineup) (left []*release) {
	if s != nil {
		left = slices.Clone(s.draining)
	}
	for _, r := range before.releases() {
		if r.drain != nil && !slices.Contains(left, r) {
			left = append(left, r)
		}
	}
	return left
}

// keep stores a document, or deletes what is stored of a service, and tells those that follow.
func (e *Engine) keep(service string, document []byte) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	if document == nil {
		err = e.currentStore().Delete(ctx, service)
	} else {
		err = e.currentStore().Save(ctx, service, document, func(b []byte) bool {
			_, err := decodeDocument(service, b)
			return err == nil
		})
	}
	if err == nil {
		e.tellFollowers(service, document)
	}
	return err
}

// AwaitDrains waits until this process, and those that follow it, hold nothing of releases that have left. It returns
// how they have drained, as one; the cause of ctx if that ends first.
func (e *Engine) AwaitDrains(ctx context.Context, left Leaving) (all api.Drain, err error) {
	for _, r := range left.releases {
		if err := r.awaitDrain(ctx, nil); err != nil {
			return all, err
		}
		d := r.drain.result
		all.Release, all.Targets = max(all.Release, d.Release), append(all.Targets, d.Targets...)
		all.Add(d)
	}
	elsewhere := make(chan []api.Drain, 1)
	go func() { elsewhere <- e.drainFollowers(left.service) }()
	select {
	case drains := <-elsewhere:
		for _, d := range drains {
			all.Add(d)
		}
		return all, nil
	case <-ctx.Done():
		return all, context.Cause(ctx)
	}
}
