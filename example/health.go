package main

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	reasonBooting   = "booting"
	reasonUnhealthy = "unhealthy"
	reasonSwitched  = "switched off by /admin/health"
)

// health knows what the health check has to say at a given time.
type health struct {
	readyAt   time.Time
	failingAt time.Time // zero: never

	// override is what /admin/health asked for last; nil: nothing yet.
	override atomic.Pointer[bool]
}

// newHealth returns the health of an application that needs bootDelay to start
// and fails unhealthyAfter (0: never) after that.
func newHealth(started time.Time, bootDelay, unhealthyAfter time.Duration) *health {
	h := &health{readyAt: started.Add(bootDelay)}
	if unhealthyAfter > 0 {
		h.failingAt = h.readyAt.Add(unhealthyAfter)
	}
	return h
}

// problem returns why the application is not healthy, or "" when it is.
func (h *health) problem(now time.Time) string {
	override := h.override.Load()
	switch {
	case h.booting(now):
		return reasonBooting
	case override != nil && *override:
		return ""
	case override != nil:
		return reasonSwitched
	case !h.failingAt.IsZero() && !now.Before(h.failingAt):
		return reasonUnhealthy
	}
	return ""
}

func (h *health) booting(now time.Time) bool {
	return now.Before(h.readyAt)
}

// up is the health check. An unhealthy application still answers everything
// else: what to do about it is the proxy's decision.
func (a *app) up(w http.ResponseWriter, _ *http.Request) {
	if problem := a.health.problem(time.Now()); problem != "" {
		a.answer(w, http.StatusServiceUnavailable, problem)
		return
	}
	a.answer(w, http.StatusOK, "ready")
}

// setHealth lets everyone who can reach the application decide what /up answers.
// That is fine for an example, and for nothing else.
func (a *app) setHealth(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		a.answer(w, http.StatusMethodNotAllowed, "use POST")
		return
	}
	up, err := strconv.ParseBool(r.URL.Query().Get("up"))
	if err != nil {
		a.answer(w, http.StatusBadRequest, "say ?up=true or ?up=false")
		return
	}
	a.health.override.Store(&up)
	a.answer(w, http.StatusOK, "up="+strconv.FormatBool(up))
}
