package proxy

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
)

// beginDrain has r, which has left, count as a release that drains. Engine.mu must be held.
func (s *service) beginDrain(r *release) {
	r.drain = &drain{over: make(chan struct{})}
	s.draining = append(s.draining, r)
}

// drainAll drains old, which may be nil, and tells report of it; then it waits for
// every older release of the service that still drains, here or in a process that follows, so that
// the targets of all of them may be removed. It returns an error if something of old had to be cut and
// failOnCut is set.
func (e *Engine) drainAll(svc *service, old *release, limits api.DrainLimits, failOnCut bool, progress func(requests, streams int), report func(api.Drain)) error {
	others := e.otherDrains(svc, old)
	var failed error
	if old != nil {
		drain := e.drainRelease(svc, old, limits, progress, report)
		if !drain.Clean() {
			cut := drainError(svc.name, drain)
			e.log().Warn("a release did not drain in time", zap.String("service", svc.name), zap.Int("release", drain.Release),
				zap.Int("cut_requests", drain.CutRequests), zap.Int("cut_streams", drain.CutStreams), zap.String("hint", cut.Hint))
			if failOnCut {
				failed = cut
			}
		}
	}
	for _, r := range others {
		<-r.drain.over
	}
	e.mu.Lock()
	decides := !e.following
	e.mu.Unlock()
	if decides {
		e.drainFollowers(svc.name)
	}
	return failed
}

// DrainOld waits until this process holds nothing of a release that has left its service: no
// request, no stream, no connection. It returns how that has drained, without counts if the
// process held nothing of it. It does not have the release drain: whoever changed the service
// has, with the limits of the release that followed. It returns an [api.Error] with
// [api.CodeInvalid] if the release serves or is ready to, and the cause of ctx if that ends
// first. progress, if not nil, is called now and then with what is left. The version 0 stands for all
// releases that drain.
func (e *Engine) DrainOld(ctx context.Context, name string, version int, progress func(requests, streams int)) (api.Drain, error) {
	result := api.Drain{Release: version}
	e.mu.Lock()
	svc := e.services[name]
	if svc == nil {
		e.mu.Unlock()
		return result, nil // which holds nothing
	}
	for _, r := range svc.lineup().releases() {
		if r.Version == version {
			e.mu.Unlock()
			return result, api.Invalid("%s v%d does not drain: it has a part in its service", name, version)
		}
	}
	draining := slices.Clone(svc.draining)
	for _, d := range svc.drained {
		if d.Release == version {
			result = d
		}
	}
	e.mu.Unlock()
	for _, r := range draining {
		if version != 0 && r.Version != version {
			continue
		}
		if err := r.awaitDrain(ctx, progress); err != nil {
			return result, err
		}
		if version != 0 {
			result = r.drain.result
		} else {
			result.Add(r.drain.result)
		}
	}
	return result, nil
}

// progressPause is how often whoever waits for a drain is told how it goes.
const progressPause = time.Second

// awaitDrain waits until r, which has left, has drained.
func (r *release) awaitDrain(ctx context.Context, progress func(requests, streams int)) error {
	tick := time.NewTicker(progressPause)
	defer tick.Stop()
	for {
		select {
		case <-r.drain.over:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
			if progress != nil {
				progress(r.InFlight(), r.Streams())
			}
		}
	}
}

// keptDrains bounds the drains of a service that are remembered for [Engine.DrainOld].
const keptDrains = 8

// otherDrains returns the releases of a service that drain, without one of them.
func (e *Engine) otherDrains(svc *service, without *release) []*release {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(svc.draining), func(r *release) bool { return r == without })
}

// drainRelease drains a release, takes it off the service's record and tells report of it.
func (e *Engine) drainRelease(svc *service, r *release, limits api.DrainLimits, progress func(requests, streams int), report func(api.Drain)) api.Drain {
	all := e.drainElsewhere(svc.name, r, progress)
	result := r.Drain(limits, all.here)
	all.addTo(&result)
	e.mu.Lock()
	svc.draining = slices.DeleteFunc(svc.draining, func(o *release) bool { return o == r })
	svc.retired += r.Served.Load()
	svc.drained = append(svc.drained[max(0, len(svc.drained)-keptDrains+1):], result)
	e.noteCut(svc, result, limits)
	e.mu.Unlock()
	report(result)
	r.drain.result = result
	close(r.drain.over)
	return result
}

// leave has releases of a service drain that are out of its line-up. Engine.mu must be held.
func (e *Engine) leave(svc *service, left []*release) []*release {
	for _, r := range left {
		e.free(svc.name, r.Spec.Routes)
		svc.beginDrain(r)
	}
	return left
}

// drainAside drains releases that have left the line-up of a service, and tells report of each.
// It does not wait.
func (e *Engine) drainAside(svc *service, left []*release, limits api.DrainLimits, report func(api.Drain)) {
	for _, r := range left {
		e.operations.Go(func() {
			e.drainRelease(svc, r, limits, nil, report)
			e.mu.Lock()
			e.forgetIfUnused(svc)
			e.mu.Unlock()
		})
	}
}
