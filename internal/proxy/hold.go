package proxy

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
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

// spreadPerRequest is how long each request that has waited makes the release of all take:
// an application that comes back from its pause is not to meet all of them in one moment.
const spreadPerRequest = time.Millisecond

// maxSpread bounds what all of them take: nobody waits for longer than this because many do.
const maxSpread = 5 * time.Second

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

// visit is a request on its way through the holds of a service, of which there may be one
// after the other.
type visit struct {
	in     *http.Request
	client forward.Sender
	// waitedFor is the hold that the request has waited for last; nil if it has not.
	waitedFor *hold
	// lot decides for a client that nothing is known of; 0 if it has not been drawn.
	lot uint32
	// bucket is what the client is known by in its cookie; empty if it has none.
	bucket string
	// cookies are those that the client is to get.
	cookies []string
	// hasWaited says that the request has waited for a hold to end.
	hasWaited bool
	// stopping is closed when the engine stops. It is nil for a request that has not waited.
	stopping <-chan struct{}
}

// watch returns what is closed when the client goes away, as far as its connection tells.
func (v *visit) watch() (gone <-chan struct{}, stop func()) {
	if v.client.Connection == nil {
		return nil, func() {}
	}
	left := make(chan struct{})
	return left, v.client.Connection.OnGone(func() { close(left) })
}

// served reports whether the request is served although its service is held: because the
// operator lets its sender through, or because a certificate depends on it.
func (v *visit) served(l *lineup) bool {
	h := l.hold
	return v.opens(l) || !v.client.ByTLS(v.in) && strings.HasPrefix(v.in.URL.Path, acmeChallenges) || len(h.Allow) > 0 && h.Allows(clientAddr(v.in, v.client))
}

// isHealthCheck reports whether the request asks what a load balancer in front asks: whether
// to send anything here. It has to, or its clients would get an error of its own.
func (v *visit) isHealthCheck(r *release) bool {
	path, _, _ := strings.Cut(r.Spec.Options.HealthCheckPath, "?")
	return (v.in.Method == http.MethodGet || v.in.Method == http.MethodHead) && v.in.URL.Path == path
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

// wait returns when the request may be looked up again, or why it is refused.
func (v *visit) wait(h *hold, stopping <-chan struct{}) error {
	if h.Mode == api.Stopped {
		return &HeldError{Cause: ErrStopped, Status: h.Status, Message: h.Message}
	}
	if n := h.waiting.Add(1); v.waitedFor == nil && n > int64(h.Queue) {
		h.waiting.Add(-1)
		return &HeldError{Cause: ErrQueueFull, Status: http.StatusServiceUnavailable, RetryAfter: queueRetryAfter}
	}
	defer h.waiting.Add(-1)
	v.waitedFor, v.stopping, v.hasWaited = h, stopping, true
	deadline := time.NewTimer(time.Until(v.client.Began.Add(time.Duration(h.MaxWait))))
	defer deadline.Stop()
	gone, unwatch := v.watch()
	defer unwatch()
	select {
	case <-h.changed:
		return nil
	case <-deadline.C:
		return &HeldError{Cause: ErrPaused, Status: http.StatusGatewayTimeout}
	case <-stopping:
		return &HeldError{Cause: ErrRetired, Status: http.StatusServiceUnavailable, RetryAfter: queueRetryAfter}
	case <-gone:
	case <-v.in.Context().Done():
	}
	return fmt.Errorf("%w while its request waited for the service to be resumed", forward.ErrClientGone)
}

// spread waits a little, if the request has waited and its service is held no more. When it
// returns early, because the client is gone or the engine stops, the request goes on: others
// find that out, as for any request.
func (v *visit) spread() {
	if v.waitedFor == nil {
		return
	}
	most := min(time.Duration(v.waitedFor.waiting.Load()+1)*spreadPerRequest, maxSpread)
	v.waitedFor = nil
	gone, unwatch := v.watch()
	defer unwatch()
	turn := time.NewTimer(rand.N(most))
	defer turn.Stop()
	select {
	case <-turn.C:
	case <-v.stopping:
	case <-gone:
	case <-v.in.Context().Done():
	}
}

// clientAddr returns the address of the client: who has sent the request to us, or to a
// trusted proxy that has.
func clientAddr(in *http.Request, client forward.Sender) netip.Addr {
	if client.Trusted {
		forwarded := in.Header.Values("X-Forwarded-For")
		if len(forwarded) == 0 {
			return netip.Addr{}
		}
		last := forwarded[len(forwarded)-1]
		addr, _ := netip.ParseAddr(strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:]))
		return addr
	}
	addr, _ := netip.ParseAddrPort(in.RemoteAddr)
	return addr.Addr()
}
