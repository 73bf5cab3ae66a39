package proxy

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Hold pauses or stops a service: from its return of the store on, no new request reaches
// the release that serves. It waits for those that are in flight, up to the drain timeout,
// and tells how many are left; none is cut. A service that is held already gets new limits.
func (e *Engine) Hold(ctx context.Context, name string, mode api.HoldMode, req api.HoldRequest) (api.HoldResult, error) {
	h, err := req.Resolve(mode)
	if err != nil {
		return api.HoldResult{}, err
	}
	active, err := e.setHold(name, &h)
	if err != nil {
		return api.HoldResult{}, err
	}
	e.log().Info("the requests for a service are held", zap.String("service", name), zap.String("mode", string(mode)))
	timeout := active.Spec.Options.DrainTimeout
	if req.DrainTimeout != nil {
		timeout = *req.DrainTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(timeout))
	defer cancel()
	active.AwaitIdle(ctx)
	for _, r := range e.drainingOf(name) { // which work on the same database
		r.AwaitIdle(ctx)
	}
	return e.holdResult(name), nil
}

// Resume has a service serve its requests again, those that wait included.
func (e *Engine) Resume(name string) (api.HoldResult, error) {
	if _, err := e.setHold(name, nil); err != nil {
		return api.HoldResult{}, err
	}
	e.log().Info("the requests for a service are served again", zap.String("service", name))
	return e.holdResult(name), nil
}

// setHold stores a hold, or that there is none, and makes it so.
func (e *Engine) setHold(name string, h *api.Hold) (*release, error) {
	e.mu.Lock()
	svc := e.services[name]
	if svc == nil {
		defer e.mu.Unlock()
		return nil, e.noSuchService(name)
	}
	if e.stopping {
		defer e.mu.Unlock()
		return nil, &api.Error{Code: api.CodeStopping, Message: "the proxy is stopping"}
	}
	e.operations.Add(1)
	e.mu.Unlock()
	defer e.operations.Done()

	svc.committing <- struct{}{}
	defer func() { <-svc.committing }()
	e.mu.Lock()
	c := svc.active
	e.mu.Unlock()
	if c == nil {
		return nil, &api.Error{Code: api.CodeNotFound, Message: "the service " + name + " serves nothing, so there is nothing to hold"}
	}
	// Nobody else changes the line-up while the commit slot is taken.
	l := c.lineup.Load()
	if h == nil && l.hold == nil {
		return l.active, nil
	}
	next := &lineup{active: l.active}
	if h != nil {
		next.hold = newHold(*h, l.hold)
	}
	if err := e.save(l.active, next.hold); err != nil {
		return nil, notStored("storing that the service is held or is not failed", err)
	}
	c.lineup.Store(next)
	l.hold.end()
	if h != nil {
		e.feed.publish(api.Event{Kind: api.EventHeld, Service: name, Release: l.active.Version, Hold: h})
	} else {
		e.feed.publish(api.Event{Kind: api.EventResumed, Service: name, Release: l.active.Version})
	}
	return l.active, nil
}

// holdResult describes the hold of a service, and what is in flight.
func (e *Engine) holdResult(name string) api.HoldResult {
	e.mu.Lock()
	defer e.mu.Unlock()
	result := api.HoldResult{Service: name}
	if svc := e.services[name]; svc != nil && svc.active != nil {
		l := svc.active.lineup.Load()
		result.Hold, result.Requests, result.Streams = l.hold.status(), l.active.InFlight(), l.active.Streams()
		for _, r := range svc.draining {
			result.Requests += r.InFlight()
			result.Streams += r.Streams()
		}
	}
	return result
}

// drainingOf returns the older releases of a service that drain.
func (e *Engine) drainingOf(name string) []*release {
	e.mu.Lock()
	defer e.mu.Unlock()
	if svc := e.services[name]; svc != nil {
		return slices.Clone(svc.draining)
	}
	return nil
}
