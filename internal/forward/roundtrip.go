package forward

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/parachute-proxy/parachute/internal/transport"
)

// roundTrip sends out to a target of r, and to another one or later if the first
// could not be reached. A request that may have been seen is repeated once, and only if
// its method allows that: on another target, or on the same when that is back.
func (r *Release) roundTrip(x *exchange, out *http.Request) (*http.Response, error) {
	if x.from.Begun != nil {
		return r.resume(x, out)
	}
	u := r.pick(x, nil)
	x.enterUpstream(u)
	x.nameTarget(out, u)
	x.beginAttempt()
	resp, err := u.transport.RoundTrip(out)
	x.endAttempt()
	if err == nil {
		return resp, nil
	}
	return r.repeat(x, out, u, err)
}

// resume goes on with a request that was to be passed through.
func (r *Release) resume(x *exchange, out *http.Request) (resp *http.Response, err error) {
	u, passed := x.from.Begun.upstream, x.from.Begun.passed
	x.upstream = u // which counts it already
	x.sentAt = x.from.Begun.At
	if passed != nil {
		resp, err = u.transport.(*transport.Transport).Resume(out, &passed.exchange)
	} else {
		resp, err = u.transport.RoundTrip(out)
	}
	x.endAttempt()
	if err == nil {
		return resp, nil
	}
	return r.repeat(x, out, u, err)
}

// repeat is what roundTrip does when the first attempt, on u, has failed with err.
func (r *Release) repeat(x *exchange, out *http.Request, u *upstream, err error) (*http.Response, error) {
	holdUntil := time.Now().Add(time.Duration(r.Spec.Options.HoldTimeout))
	pause := 10 * time.Millisecond
	var tried []*upstream
	held := false
	defer func() {
		if held {
			r.Traffic.held.Add(-1)
		}
	}()
	for {
		tried = append(tried, u)
		switch {
		case x.Err() != nil || x.body != nil && x.body.touched():
			return nil, err
		case errors.Is(err, ErrMoved):
			return nil, ErrMoved
		case isDialError(err):
			dial, _ := errors.AsType[*dialError](err)
			if !errors.Is(err, syscall.EMFILE) { // which says nothing of the target
				u.observe(probeResult{reason: DialReason(err), unreachable: true}, dial.began)
			}
			u.monitor.hasten()
		case errors.Is(err, transport.ErrNotSent):
			// The target closed the connection before it had a byte of the request.
			u.monitor.hasten()
		case isTimeout(err):
			// A slow answer may be the client's doing. The next probe tells.
			u.monitor.hasten()
			return nil, err
		case errors.Is(err, transport.ErrInvalidRequest) || x.repeated || x.informed || !transport.Idempotent(out.Method):
			return nil, err
		case x.body != nil: // which the transport that failed may be about to read
			return nil, err
		case len(tried) == r.candidates(x) && !brokeOff(err): // the same target would say the same
			return nil, err
		default:
			x.repeated = true
			// A process that dies may still accept connections for a moment.
			pause = max(pause, 50*time.Millisecond)
			u.monitor.hasten()
		}
		for u = r.pick(x, tried); u == nil; u = r.pick(x, tried) {
			if r.draining() {
				return nil, ErrMoved
			}
			if !held {
				held = true
				r.Traffic.held.Add(1)
			}
			if !hold(x, pause, holdUntil) {
				x.holdOver = x.Err() == nil && r.Spec.Options.HoldTimeout > 0
				return nil, err
			}
			pause = min(2*pause, 250*time.Millisecond)
			tried = tried[:0]
		}
		r.Traffic.retries.Add(1)
		x.enterUpstream(u)
		x.beginAttempt()
		var resp *http.Response
		// A copy, because a transport may still be busy with the attempt that failed.
		again := out.Clone(context.WithValue(x, heldUntil{}, holdUntil))
		if x.body != nil {
			again.Body = x.body.forAnyTransport(x)
		}
		x.nameTarget(again, u)
		resp, err = u.transport.RoundTrip(again)
		x.endAttempt()
		if err == nil {
			return resp, nil
		}
	}
}

// hold waits for pause, with some jitter, and reports whether it is worth another
// try before the deadline.
func hold(ctx context.Context, pause time.Duration, deadline time.Time) bool {
	pause += time.Duration(rand.Int64N(int64(pause)))
	return time.Now().Add(pause).Before(deadline) && sleep(ctx, pause)
}

// brokeOff reports whether err means that a connection ended on which a request was.
func brokeOff(err error) bool {
	return errors.Is(err, transport.ErrClosed) || diedSilently(err) ||
		// The type of this error is not exported (golang.org/x/net/http2.GoAwayError).
		strings.Contains(err.Error(), "http2: server sent GOAWAY and closed the connection")
}
