package proxy

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Request errors of a service that is paused or stopped. Each is the cause of a [HeldError].
var (
	// ErrStopped means that the service is stopped.
	ErrStopped = errors.New("the service is stopped")
	// ErrPaused means that the service is paused, and the request has waited for as long
	// as it may.
	ErrPaused = errors.New("the service is paused, and was not resumed in time")
	// ErrQueueFull means that the service is paused, and enough requests wait.
	ErrQueueFull = errors.New("the service is paused, and too many requests wait")
)

// HeldError is why a request for a service that is paused or stopped was refused.
type HeldError struct {
	Cause error
	// Status is what the client is answered with, Message what it is told; empty if the
	// operator has said nothing.
	Status  int
	Message string
	// RetryAfter is when the client may come again; 0 if that is not known.
	RetryAfter time.Duration
}

func (e *HeldError) Error() string { return e.Cause.Error() }

// Unwrap returns the cause.
func (e *HeldError) Unwrap() error { return e.Cause }

// queueRetryAfter is when a client that found the queue full may come again.
const queueRetryAfter = 5 * time.Second

// hold is a [api.Hold] with the requests that wait for its end.
type hold struct {
	api.Hold
	// changed is closed when the hold has ended, or another one has taken its place.
	changed chan struct{}
	waiting *atomic.Int64
}

// newHold returns a hold. The requests that wait for before, which may be nil, go on to wait
// for it.
func newHold(h api.Hold, before *hold) *hold {
	next := &hold{Hold: h, changed: make(chan struct{}), waiting: new(atomic.Int64)}
	if before != nil {
		next.waiting = before.waiting
	}
	return next
}

// again returns a hold that takes the place of h, and nil for nil: whoever waits for h looks
// its route up again when h ends.
func (h *hold) again() *hold {
	if h == nil {
		return nil
	}
	return newHold(h.Hold, h)
}

func (h *hold) status() *api.HoldStatus {
	if h == nil {
		return nil
	}
	return &api.HoldStatus{Hold: h.Hold, Waiting: int(h.waiting.Load())}
}

// end lets the requests that wait look again.
func (h *hold) end() {
	if h != nil {
		close(h.changed)
	}
}

// errHealthCheck says that a request asks a service that is held whether it is healthy.
var errHealthCheck = errors.New("a load balancer asks whether the service is healthy")

// writeHealthy answers a load balancer in place of a service that is held.
func writeHealthy(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(w, "the service is paused or stopped; its proxy is well\n")
}
