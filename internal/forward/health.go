package forward

import (
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// failuresToFail is the number of probes in a row that have to fail before a
// target that does accept connections counts as failing: one slow answer under
// load must not move its share of the load to the others.
const failuresToFail = 3

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

// missed takes into account that a request was not answered in time.
func (u *upstream) missed() {
	u.healthMu.Lock()
	defer u.healthMu.Unlock()
	if u.health.missed == 0 {
		u.health.missedSince = time.Now()
	}
	u.health.missed++
	u.missing.Store(true)
}

// answered takes into account that a request was answered.
func (u *upstream) answered() {
	if !u.missing.Load() {
		return // as nearly always: that costs no lock
	}
	u.healthMu.Lock()
	defer u.healthMu.Unlock()
	u.health.missed, u.health.missedSince = 0, time.Time{}
	u.missing.Store(false)
}

// observe takes the result of a probe, or of an attempt to connect, into account that
// began at began, and reports whether the state changed. It counts for nothing beside one
// that began later: what takes long to fail says how the target was.
func (u *upstream) observe(result probeResult, began time.Time) (health, bool) {
	u.healthMu.Lock()
	defer u.healthMu.Unlock()
	if began.Before(u.health.seen) {
		return u.health, false
	}
	before := u.health.state
	u.health = u.health.after(result, time.Now())
	u.health.seen = began
	u.missing.Store(u.health.missed > 0)
	return u.health, u.health.state != before
}

func (u *upstream) currentHealth() health {
	u.healthMu.Lock()
	defer u.healthMu.Unlock()
	h := u.health
	if h.state == "" {
		h.state = api.HealthUnverified
	}
	return h
}

func (u *upstream) failing() bool { return u.currentHealth().state == api.HealthFailing }
