package proxy

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"time"
)

// releaseTransport sends each request through the release that it is counted on.
type releaseTransport struct{}

func (releaseTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	return exchangeOf(req).release.roundTrip(req)
}

// errMoved says that a request which was held has not been sent anywhere, and
// that its release has been replaced meanwhile: the next one may serve it.
var errMoved = errors.New("the release was replaced while the request was held")

// roundTrip sends req to a target of r, and to another one or later if the first
// could not be reached. A request that may have been seen is repeated only if its
// method allows that, and only on another target.
func (r *Release) roundTrip(req *http.Request) (*http.Response, error) {
	x := exchangeOf(req)
	holdUntil := time.Now().Add(time.Duration(r.options.HoldTimeout))
	pause := 10 * time.Millisecond
	var tried []*upstream
	var lastErr error
	repeated := false
	for {
		u := r.pick(tried)
		if u == nil {
			if r.draining() {
				return nil, errMoved
			}
			if !hold(req.Context(), pause, holdUntil) {
				return nil, lastErr
			}
			pause = min(2*pause, 250*time.Millisecond)
			tried = tried[:0]
			continue
		}
		x.enterUpstream(u)
		resp, err := u.transport.RoundTrip(addressed(req, u.target, lastErr != nil))
		if err == nil {
			return resp, nil
		}
		lastErr = err
		tried = append(tried, u)
		switch {
		case req.Context().Err() != nil || x.body != nil && x.body.touched():
			return nil, err
		case isDialError(err):
			u.observe(probeResult{reason: dialReason(err), unreachable: true}, time.Now())
			u.monitor.hasten()
		case repeated || !idempotent(req.Method) || isTimeout(err) || len(tried) == len(r.upstreams):
			return nil, err
		default:
			repeated = true
		}
	}
}

// addressed points req at t. A repeat gets a copy, because the transport may
// still be busy with the request of the attempt that failed.
func addressed(req *http.Request, t Target, repeat bool) *http.Request {
	if repeat {
		req = req.Clone(req.Context())
	}
	req.URL.Host = t.host()
	req.URL.Scheme = "http"
	if t.Scheme == "https" {
		req.URL.Scheme = "https"
	}
	return req
}

// hold waits for pause, with some jitter, and reports whether it is worth another
// try before the deadline.
func hold(ctx context.Context, pause time.Duration, deadline time.Time) bool {
	pause += time.Duration(rand.Int64N(int64(pause)))
	return time.Now().Add(pause).Before(deadline) && sleep(ctx, pause)
}

// idempotent reports whether a method may be repeated without asking (RFC 9110,
// section 9.2.2), of those that have no body as a rule.
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}
