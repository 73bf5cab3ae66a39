package proxy

import (
	"context"
	"errors"
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
	l, err := e.setHold(name, &h, req.IfMatch)
	if err != nil {
		return api.HoldResult{}, err
	}
	e.log().Info("the requests for a service are held", zap.String("service", name), zap.String("mode", string(mode)))
	timeout := l.active.Spec.Options.DrainTimeout
	if req.DrainTimeout != nil {
		timeout = *req.DrainTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(timeout))
	defer cancel()
	for _, r := range append(l.releases(), e.drainingOf(name)...) { // which work on the same database
		r.AwaitIdle(ctx)
	}
	return e.holdResult(name), nil
}

// Resume has a service serve its requests again, those that wait included. For ifMatch see
// [Engine.DeployIfMatch].
func (e *Engine) Resume(name, ifMatch string) (api.HoldResult, error) {
	if _, err := e.setHold(name, nil, ifMatch); err != nil {
		return api.HoldResult{}, err
	}
	e.log().Info("the requests for a service are served again", zap.String("service", name))
	return e.holdResult(name), nil
}

// setHold stores a hold, or that there is none, and makes it so. It returns the line-up that
// the service then has.
func (e *Engine) setHold(name string, h *api.Hold, ifMatch string) (*lineup, error) {
	svc, err := e.operate(name, ifMatch)
	if err != nil {
		return nil, err
	}
	defer e.operated(svc)
	var now lineup
	_, err = e.changeLineup(svc, lineupChange{
		failed: "storing that the service is held or is not failed", ifMatch: ifMatch,
		next: func(l lineup) (lineup, error) {
			if h == nil && l.hold == nil && e.fleet == nil { // one of a fleet may not have heard of a hold
				now = l
				return l, errUnchanged
			}
			before := l.hold
			if l.hold = nil; h != nil {
				l.hold = newHold(*h, before)
			}
			now = l
			return l, nil
		},
	})
	switch {
	case errors.Is(err, errUnchanged):
		return &now, nil
	case err != nil:
		return nil, err
	}
	ev := api.Event{Kind: api.EventResumed, Service: name, Release: now.active.Version, Hold: h}
	if h != nil {
		ev.Kind = api.EventHeld
	}
	e.feed.publish(ev)
	return &now, nil
}

// holdResult describes the hold of a service, and what is in flight.
func (e *Engine) holdResult(name string) api.HoldResult {
	e.mu.Lock()
	defer e.mu.Unlock()
	result := api.HoldResult{Service: name}
	if svc := e.services[name]; svc != nil && svc.active != nil {
		l := svc.lineup()
		result.Hold = l.hold.status()
		for _, r := range append(l.releases(), svc.draining...) {
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
