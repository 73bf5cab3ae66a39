package proxy

import (
	"fmt"
	"slices"
)

// drainOld drains old, which may be nil, and tells report of it; then it waits for
// every older release of the service that still drains, so that the targets of all
// of them may be removed. It returns an error if something of old had to be cut.
func (e *Engine) drainOld(svc *service, old *Release, limits drainLimits, progress func(requests, streams int), report func(Drain)) *Error {
	others := e.otherDrains(svc, old)
	var failed *Error
	if old != nil {
		drain := e.drainRelease(svc, old, limits, progress)
		report(drain)
		if !drain.clean() {
			failed = drainError(svc.name, drain)
		}
	}
	for _, r := range others {
		<-r.drained
	}
	return failed
}

// otherDrains returns the releases of a service that drain, without one of them.
func (e *Engine) otherDrains(svc *service, without *Release) []*Release {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(svc.draining), func(r *Release) bool { return r == without })
}

// drainRelease drains a release and takes it off the service's record.
func (e *Engine) drainRelease(svc *service, r *Release, limits drainLimits, progress func(requests, streams int)) Drain {
	result := r.drain(limits, progress)
	e.mu.Lock()
	svc.draining = slices.DeleteFunc(svc.draining, func(o *Release) bool { return o == r })
	svc.retired += r.served.Load()
	e.mu.Unlock()
	close(r.drained)
	return result
}

func drainError(service string, d Drain) *Error {
	return &Error{
		Code:    CodeDrainTimeout,
		Message: fmt.Sprintf("%s v%d did not drain in time: %s", service, d.Release, d.cutSummary()),
		Hint:    "raise --drain-timeout if requests need longer, or --stream-timeout for streams",
	}
}

func (d Drain) cutSummary() string {
	return fmt.Sprintf("%s and %s were cut", Count(d.CutRequests, "request"), Count(d.CutStreams, "stream"))
}

// Count writes a number of things: "1 request", "2 requests".
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
