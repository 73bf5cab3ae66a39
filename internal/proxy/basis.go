package proxy

import (
	"fmt"
	"reflect"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// basis is what a deploy starts from: it changes what it names, and keeps the rest.
type basis struct {
	// active is the release that serves; nil if none does.
	active *release
	// committing is a deployment that can no longer be superseded, and so will have been
	// first, if it can be stored; nil if there is none.
	committing *Deployment
	// known is what a broken service was deployed with, if anything is known of it.
	known *api.Spec
	// carriedOn is another service that the new one takes the place of; nil if it does not.
	carriedOn *api.Spec
}

// spec returns what the service has, or nil if it has nothing yet.
func (b basis) spec() *api.Spec {
	switch {
	case b.committing != nil:
		return &b.committing.spec
	case b.active != nil:
		return b.active.Spec
	case b.known != nil:
		return b.known
	}
	return b.carriedOn
}

// now returns what the service is at the moment, or nil if it is nothing.
func (b basis) now() *api.Spec {
	b.carriedOn, b.known = nil, nil
	return b.spec()
}

// basisOf returns what p starts from, which is a deploy of the named service. Engine.mu
// must be held.
func (e *Engine) basisOf(p api.Patch, name string) basis {
	svc := e.services[name]
	if svc == nil {
		return basis{carriedOn: e.carriedOn(p, name)}
	}
	b := basis{active: svc.release(), known: svc.known}
	for _, d := range svc.deployments {
		if d.isCommitting() && !d.inService {
			b.committing = d
		}
	}
	if b.spec() == nil && svc.broken == nil {
		b.carriedOn = e.carriedOn(p, name)
	}
	return b
}

// resolve puts a patch together with what its service has. It returns the outcome, and
// what it was put together with.
func (e *Engine) resolve(p api.Patch) (api.Spec, basis, error) {
	name, err := p.Service()
	if err != nil {
		return api.Spec{}, basis{}, err
	}
	e.mu.Lock()
	from := e.basisOf(p, name)
	broken := from.spec() == nil && e.services[name] != nil && e.services[name].broken != nil
	e.mu.Unlock()
	req, err := p.Apply(from.spec())
	if err != nil {
		return api.Spec{}, basis{}, err
	}
	if broken && !req.Reset {
		lost := api.Invalid("the settings of the service %s could not be loaded, so a deploy cannot keep them", name)
		return api.Spec{}, basis{}, lost.WithHint("give all of its settings, and add %s", api.Field("reset"))
	}
	req.Service = name
	s, err := req.Resolve()
	if err != nil {
		return api.Spec{}, basis{}, err
	}
	if e.opts.Refuse != nil {
		if err := e.opts.Refuse(s); err != nil {
			return api.Spec{}, basis{}, err
		}
	}
	if from.active != nil {
		if err := checkCanary(from.active.Spec, &s); err != nil {
			return api.Spec{}, basis{}, err
		}
	}
	if s.TakeOver {
		if err := e.mayTakeOver(p, &s); err != nil {
			return api.Spec{}, basis{}, err
		}
	}
	if err := e.checkCertificates(s); err != nil {
		return api.Spec{}, basis{}, err
	}
	if s.TargetCA, err = readTargetCA(s.Options.TargetCA, time.Now()); err != nil {
		return api.Spec{}, basis{}, err
	}
	if s.ErrorPages, err = readErrorPages(s.Options.ErrorPages); err != nil {
		return api.Spec{}, basis{}, err
	}
	return s, from, e.adaptHandlers(&s)
}

// mayTakeOver returns why a deployment of s, which p asks for, cannot take over the routes
// that others have.
func (e *Engine) mayTakeOver(p api.Patch, s *api.Spec) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, err := e.checkTakeover(s, p.SaysTLS())
	return err
}

// Plan returns what a deploy would do. It has the errors of [Engine.Deploy], and changes
// nothing.
func (e *Engine) Plan(p api.Patch) (api.Plan, error) {
	s, from, err := e.resolve(p)
	if err != nil {
		return api.Plan{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.reservable(&s); err != nil {
		return api.Plan{}, err
	}
	serving := 0
	if from.active != nil {
		serving = from.active.Version
	}
	plan := api.NewPlan(serving, from.now(), s)
	if l := e.services[s.Service].lineup(); l != nil && l.rollout != nil {
		plan.UnderWay = l.rollout.next.Version
		wanted := s.Rollout
		if wanted == nil {
			wanted = new(api.Rollout)
		}
		if again := api.NewPlan(plan.UnderWay, l.rollout.next.Spec, s); !again.Changed() && reflect.DeepEqual(*wanted, l.rollout.spec) {
			again.UnderWay = plan.UnderWay
			return again, nil
		}
	}
	if s.TakeOver {
		taken, err := e.takeovers(&s)
		if err != nil {
			return api.Plan{}, err
		}
		plan.TakenOver = summary(taken)
	}
	return plan, nil
}

// accept makes a deployment of what resolve has returned. It returns false if the service
// has changed since. Engine.mu must be held.
func (e *Engine) accept(id string, p api.Patch, s api.Spec, from basis, ifMatch string) (*Deployment, bool, error) {
	if err := e.mayDecide(); err != nil {
		return nil, true, err
	}
	if e.basisOf(p, s.Service) != from {
		return nil, false, nil
	}
	if err := e.checkGeneration(e.services[s.Service], s.Service, ifMatch); err != nil {
		return nil, true, err
	}
	if err := e.reserve(&s); err != nil {
		return nil, true, err
	}
	svc := e.service(s.Service)
	for _, older := range svc.deployments {
		older.abort(&api.Error{
			Code:    api.CodeSuperseded,
			Message: fmt.Sprintf("a newer deployment of %s was accepted; this one has changed nothing", s.Service),
		})
	}
	d := newDeploymentAs(id, s)
	d.saysTLS, d.builtOn = p.SaysTLS(), from.committing
	d.reserved = e.heldBy(svc, s.Routes)
	e.begin(svc, d)
	return d, true, nil
}
