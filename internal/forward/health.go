package forward

import (
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// failuresToFail is the number of probes in a row that have to fail before a
// target that does accept connections counts as failing: one slow answer under
// load must not move its share of the load to the others.
const failuresToFail = 3

// probeResult is the outcome of one probe. An empty reason means success.
type probeResult struct {
	reason string
	// kind stands for all reasons that differ in what was quoted from the answer only; empty
	// if nothing was.
	kind string
	// unreachable says that not even a connection came about, noHTTP that one did, and that
	// what came over it was no answer in HTTP.
	unreachable, noHTTP bool
	// status is that of the answer; 0 without one.
	status int
}

func (r probeResult) ok() bool { return r.reason == "" }

// sameAs reports whether two failures differ in nothing but what they quote.
func (r probeResult) sameAs(other probeResult) bool {
	return r.reason == other.reason || r.kind != "" && r.kind == other.kind
}

// health is the health of an upstream and the reason for it.
type health struct {
	state  api.Health
	reason string
	since  time.Time
	// failures is the number of probes in a row that have failed, and missed that of requests
	// that were not answered in time, since a probe or another request was.
	failures, missed int32
	// seen is when the probe began that was the last to count.
	seen time.Time
	// missedSince is when the first of those requests was given up.
	missedSince time.Time
}

// after returns the health that follows h when a probe has ended with result. A
// refused connection counts at once, other failures only when they repeat.
func (h health) after(result probeResult, now time.Time) health {
	next := h
	switch {
	case result.ok():
		next.state, next.failures, next.reason = api.HealthHealthy, 0, ""
		next.missed, next.missedSince = 0, time.Time{}
	default:
		next.failures++
		next.reason = result.reason
		if result.unreachable || next.failures >= failuresToFail {
			next.state = api.HealthFailing
		}
	}
	if next.state != h.state {
		next.since = now
	}
	return next
}

// shown returns h as people should see it. Requests that are not answered in time change
// nothing about who gets the next one, for a slow answer may be their own doing; but a
// target that answers nobody is not to be called healthy until its probes have failed, too.
func (h health) shown() health {
	if h.state == api.HealthFailing || h.missed == 0 || h.failures+h.missed < failuresToFail {
		return h
	}
	h.state, h.since = api.HealthFailing, h.missedSince
	if h.reason == "" {
		h.reason = "requests are not answered in time"
	}
	return h
}
