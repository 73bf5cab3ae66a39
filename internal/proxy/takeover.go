package proxy

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
)

// holders returns the other services that hold any of the routes, by name. Engine.mu must
// be held.
func (e *Engine) holders(name string, routes []api.Route) (all []*service) {
	for _, r := range routes {
		if o := e.owners[r]; o != nil && o.service != name && !slices.Contains(all, e.services[o.service]) {
			all = append(all, e.services[o.service])
		}
	}
	slices.SortFunc(all, func(a, b *service) int { return cmp.Compare(a.name, b.name) })
	return all
}

// heldBy returns those of the routes that a service holds. Engine.mu must be held.
func (e *Engine) heldBy(svc *service, routes []api.Route) []api.Route {
	return slices.DeleteFunc(slices.Clone(routes), func(r api.Route) bool { return e.owners[r] == nil || e.owners[r].service != svc.name })
}

// common returns the routes of a that are in b, too.
func common(a, b []api.Route) []api.Route {
	return slices.DeleteFunc(slices.Clone(a), func(r api.Route) bool { return !slices.Contains(b, r) })
}

// takeovers returns what a deployment of s would take from others, or why it cannot.
// Engine.mu must be held.
func (e *Engine) takeovers(s *api.Spec) (all []takeover, err error) {
	for _, svc := range e.holders(s.Service, s.Routes) {
		t := takeover{svc: svc, from: svc.release(), hold: svc.hold()}
		if t.from != nil {
			t.routes = common(s.Routes, t.from.Spec.Routes)
		}
		if len(t.routes) == 0 {
			t.from = nil
		} else {
			left, err := t.from.Spec.Without(t.routes)
			if err != nil {
				return nil, err
			}
			if left != nil {
				t.left = t.from.with(left)
			}
		}
		all = append(all, t)
	}
	return all, nil
}

// carriedOn returns what a new service starts from that takes over all that one other has:
// that goes on under another name, and is to lose nothing by it. Engine.mu must be held.
func (e *Engine) carriedOn(p api.Patch, name string) *api.Spec {
	req, err := p.Apply(nil)
	if err != nil || !req.TakeOver || req.Reset {
		return nil
	}
	routes, err := req.Routes()
	if err != nil {
		return nil
	}
	hosts := make(map[string]bool)
	for _, r := range routes {
		hosts[r.Host] = true
	}
	var from *service
	for r, o := range e.owners {
		switch {
		case !hosts[r.Host] || o.service == name: // which a deployment of the new service may hold
		case from != nil && from.name != o.service:
			return nil
		default:
			from = e.services[o.service]
		}
	}
	if from == nil || from.active == nil {
		return nil
	}
	spec := from.release().Spec
	for _, r := range spec.Routes {
		if !hosts[r.Host] || p.Names("path_prefixes") && !slices.Contains(routes, r) {
			return nil
		}
	}
	return spec
}

// checkTakeover returns what a deployment of s would take from others, or why it cannot: it
// would take HTTPS away from a host, and does not say so. Engine.mu must be held.
func (e *Engine) checkTakeover(s *api.Spec, saysTLS bool) ([]takeover, error) {
	all, err := e.takeovers(s)
	if err != nil {
		return nil, err
	}
	for _, t := range all {
		if l := t.svc.lineup(); l != nil && len(l.releases()) > 1 {
			err := &api.Error{
				Code:    api.CodeRouteConflict,
				Message: fmt.Sprintf("%s belongs to the service %s, of which v%d is being brought into service, or is kept ready", describeRoute(e.heldBy(t.svc, s.Routes)[0]), t.svc.name, l.releases()[1].Version),
			}
			return nil, err.WithHint("end that first; see %s", api.Operation("rollout status "+api.ShellWord(t.svc.name)))
		}
		if t.from == nil || t.from.Spec.Options.TLS == nil || s.Options.TLS != nil || saysTLS {
			continue
		}
		lost := api.Invalid("%s has TLS with the service %s, and would lose it", describeRoute(t.routes[0]), t.svc.name)
		return nil, lost.WithHint("say with %s whether it should have TLS", api.Field("tls.issuer"))
	}
	return all, nil
}

// lockCommits takes the commit slots of the service of o and of those that it takes routes
// from, which it returns.
func (o *operation) lockCommits() (holders []*service, unlock func(), err error) {
	o.e.mu.Lock()
	holders = o.e.holders(o.svc.name, o.d.spec.Routes)
	o.e.mu.Unlock()
	unlock, err = lockCommits(o.d.ctx, append(slices.Clone(holders), o.svc))
	return holders, unlock, err
}

// lockCommits takes the commit slots of services. Whoever has one is the only operation of that
// service that commits. It does so in the order of their names: two that take from each other
// do not wait for each other.
func lockCommits(ctx context.Context, services []*service) (unlock func(), err error) {
	slices.SortFunc(services, func(a, b *service) int { return cmp.Compare(a.name, b.name) })
	for i, svc := range services {
		select {
		case svc.committing <- struct{}{}:
		case <-ctx.Done():
			unlockCommits(services[:i])
			return nil, context.Cause(ctx)
		}
	}
	return func() { unlockCommits(services) }, nil
}

func unlockCommits(services []*service) {
	for _, svc := range services {
		<-svc.committing
	}
}

// take makes all routes of o those of its service, also those that others hold, and ends
// deployments that want them. The commit slots of all of them must be held, and Engine.mu.
func (o *operation) take() error {
	e, d, s := o.e, o.d, &o.d.spec
	all, err := e.checkTakeover(s, d.saysTLS)
	if err != nil {
		return err
	}
	o.taken = all
	d.reserved = append(d.reserved, e.seize(s.Service, s.Routes, all)...)
	// Others may have had more of them when the deployment was accepted.
	for _, r := range s.Routes {
		if !slices.Contains(d.reserved, r) {
			e.own(s.Service, r)
			d.reserved = append(d.reserved, r)
		}
	}
	return nil
}

// seize makes those of the routes that others hold the ones of the named service, and ends
// deployments that want them. It returns them. Engine.mu must be held.
func (e *Engine) seize(name string, routes []api.Route, from []takeover) (seized []api.Route) {
	for _, t := range from {
		theirs := e.heldBy(t.svc, routes)
		for _, d := range t.svc.deployments {
			if len(common(d.reserved, theirs)) == 0 {
				continue
			}
			d.reserved = slices.DeleteFunc(d.reserved, func(r api.Route) bool { return slices.Contains(theirs, r) })
			d.abort(&api.Error{
				Code:    api.CodeSuperseded,
				Message: fmt.Sprintf("%s was taken over by the service %s; this deployment has changed nothing", describeRoute(theirs[0]), name),
			})
		}
		for _, r := range theirs {
			e.owners[r] = &owner{service: name, count: 1}
		}
		seized = append(seized, theirs...)
	}
	return seized
}

// giveBack undoes take: the release could not be stored. Engine.mu must be held.
func (o *operation) giveBack() {
	for _, t := range o.taken {
		for _, r := range t.routes {
			o.e.owners[r] = &owner{service: t.svc.name, count: 1}
		}
		o.d.reserved = slices.DeleteFunc(o.d.reserved, func(r api.Route) bool { return slices.Contains(t.routes, r) })
	}
	o.taken = nil
}

// storeLeft stores what the services have left from which o has taken routes. If that fails,
// the release of o, which is stored, says whom it has taken from: a restart finds it out
// again. It is tried again when the service of o is changed the next time.
func (o *operation) storeLeft() {
	for _, t := range append(slices.Clone(o.svc.unstored), o.taken...) {
		o.e.storeLeftOf(o.svc, t)
	}
}

// storeLeftOf stores what is left of a service that taker has taken routes from, unless that
// has changed since. The commit slot of taker must be held.
func (e *Engine) storeLeftOf(taker *service, t takeover) {
	err := e.storeLeft(t)
	taker.unstored = slices.DeleteFunc(taker.unstored, func(u takeover) bool { return u.from == t.from })
	if err != nil {
		taker.unstored = append(taker.unstored, t)
		e.log().Warn("the remaining routes of a service could not be stored; this is tried again later",
			zap.String("service", t.svc.name), zap.Error(err))
	}
}

func (e *Engine) storeLeft(t takeover) error {
	if t.from == nil {
		return nil
	}
	e.mu.Lock()
	svc := e.services[t.svc.name]
	current := svc == nil && t.left == nil || svc != nil && svc.release() == t.left
	e.mu.Unlock()
	if !current {
		return nil // another operation has stored what there is now
	}
	if t.left != nil {
		if err := e.save(svc, &lineup{active: t.left, hold: t.hold}); err != nil {
			return err
		}
		e.remember(nil, t.left, t.left.DeployedAt)
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	if err := e.currentStore().Delete(ctx, t.svc.name); err != nil {
		return err
	}
	e.tellFollowers(t.svc.name, nil)
	return nil
}

// summary tells of what was taken.
func summary(taken []takeover) (all []api.TakenOver) {
	for _, t := range taken {
		if t.from != nil {
			all = append(all, api.TakenOver{Service: t.svc.name, Release: t.from.Version, Routes: t.routes, Gone: t.left == nil})
		}
	}
	return all
}
