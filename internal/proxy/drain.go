package proxy

import (
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
)

// drainOld drains old, which may be nil, and tells report of it; then it waits for
// every older release of the service that still drains, so that the targets of all
// of them may be removed. It returns an error if something of old had to be cut and
// failOnCut is set.
func (e *Engine) drainOld(svc *service, old *release, limits api.DrainLimits, failOnCut bool, progress func(requests, streams int), report func(api.Drain)) error {
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
		<-r.drained
	}
	return failed
}

// otherDrains returns the releases of a service that drain, without one of them.
func (e *Engine) otherDrains(svc *service, without *release) []*release {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(svc.draining), func(r *release) bool { return r == without })
}

// drainRelease drains a release, takes it off the service's record and tells report of it.
func (e *Engine) drainRelease(svc *service, r *release, limits api.DrainLimits, progress func(requests, streams int), report func(api.Drain)) api.Drain {
	result := r.Drain(limits, progress)
	e.mu.Lock()
	svc.draining = slices.DeleteFunc(svc.draining, func(o *release) bool { return o == r })
	svc.retired += r.Served.Load()
	e.mu.Unlock()
	report(result)
	r.drain = result
	close(r.drained)
	return result
}

func drainError(service string, d api.Drain) *api.Error {
	err := &api.Error{
		Code:    api.CodeDrainTimeout,
		Message: fmt.Sprintf("%s v%d did not drain in time: %s", service, d.Release, api.CutOf(d)),
	}
	return err.WithHint("raise %s if requests need longer, or %s for streams", api.Field("drain_timeout"), api.Field("stream_timeout"))
}
