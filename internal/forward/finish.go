package forward

import (
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/transport"
)

// Settings whose time may be over for a request.
const (
	targetTimeout = api.Field("target_timeout")
	holdTimeout   = api.Field("hold_timeout")
	drainTimeout  = api.Field("drain_timeout")
	streamTimeout = api.Field("stream_timeout")
	clientTimeout = api.Field("client_timeout") // of the proxy and not of a service
)

// finish ends the exchange and counts it. It gives up its place, unless somebody else has
// that now. err is how it has ended; the result is that with what a log says of it.
func (x *exchange) finish(err error, detached bool) error {
	moved := errors.Is(err, ErrMoved)
	switch {
	case moved:
	case err == nil || errors.Is(err, ErrBrokenOff):
		x.count(x.status, err)
	default:
		x.count(StatusOf(err), err)
	}
	if !moved && (err != nil || x.from.Record != nil) {
		record := x.recordOf()
		if x.from.Record != nil {
			*x.from.Record = record
		}
		if err != nil {
			x.release.Traffic.noteLarge(err)
			err = &Failure{record, x.from.duration(), x.overdue(err), err, x.release.pages}
		}
	}
	x.endRequest()
	if !moved && x.body != nil {
		x.release.Traffic.received.Add(x.body.size())
	}
	if !detached {
		x.leave()
	}
	return err
}

// count counts the request, if it has not been counted yet. err is how it has ended.
func (x *exchange) count(status int, err error) {
	if !x.counted {
		x.counted = true
		took := x.from.duration()
		x.release.Measure(x.in, status, took)
		x.conclude(status, err, took)
	}
}

// maxTimedBody bounds the bodies of which the time counts, in bytes: a larger one takes as
// long as its client does.
const maxTimedBody = 64 << 10

// conclude counts how x has ended. took is how long it has taken.
func (x *exchange) conclude(status int, err error, took time.Duration) {
	failed, judged := verdict(status, err)
	if !judged || failed && x.clientGone() {
		return
	}
	o := Outcome{Failed: failed}
	if err == nil && x.stream == nil && !x.from.Waited && !x.large {
		o.Took = took
	}
	x.release.conclude(x.in, &x.from, o)
}

// Refused counts a request to r that something in front of its targets has refused with an
// error. That tells whether r works if the error is not the client's.
func (r *Release) Refused(in *http.Request, from *Sender, status int) {
	if status >= 500 {
		r.conclude(in, from, Outcome{Failed: true})
	}
}

// conclude counts how a request has ended, and tells the judge.
func (r *Release) conclude(in *http.Request, from *Sender, o Outcome) {
	r.tally(o)
	if judge := r.judge.Load(); judge != nil {
		(*judge)(in, from, o)
	}
}

// tally counts how a request has ended.
func (r *Release) tally(o Outcome) {
	counts := r.outcomes.Load()
	if counts == nil {
		r.outcomes.CompareAndSwap(nil, new(Outcomes))
		counts = r.outcomes.Load()
	}
	counts.requests.Add(1)
	if o.Failed {
		counts.failures.Add(1)
	}
	if o.Took > 0 {
		counts.took[bucketOf(o.Took)].Add(1)
	}
}

// endRequest gives back what a stream has no more use for.
func (x *exchange) endRequest() {
	if x.body != nil {
		x.body.detach()
	}
	x.releaseClient()
	x.mu.Lock()
	if x.derived != nil {
		x.cancel(errExchangeEnded)
	}
	if x.stop != nil {
		x.stop()
	}
	x.mu.Unlock()
	if x.pooled != nil && x.body == nil && x.release.plain {
		x.pooled.release() // other transports may still be busy with it
	}
}

// classify says whose fault err was, which ended the exchange before there was an
// answer.
func (x *exchange) classify(err error) error {
	if x.body != nil && x.client.Err() != nil {
		x.body.settle()
	}
	switch {
	case errors.Is(err, ErrMoved):
		return ErrMoved
	case errors.Is(x.Err(), ErrCut):
		return ErrCut
	case x.body != nil && x.body.failed.large():
		return wrap(ErrLargeBody, err)
	case x.body != nil && x.body.failed.stalled():
		return wrap(ErrClientTimeout, err)
	case x.clientGone():
		return ErrClientGone
	case x.body != nil && x.body.failed.Load() || isBodyError(err):
		return wrap(ErrBadRequest, err)
	case errors.Is(err, transport.ErrInvalidRequest):
		return wrap(ErrBadRequest, err)
	case isTimeout(err):
		return wrap(ErrTimeout, err)
	case isDialError(err):
		return wrap(ErrUnreachable, err)
	}
	if x.call != nil {
		err = x.call.failed(err)
	}
	return wrap(ErrBadGateway, err)
}

// overdue returns the setting whose time was over when x ended with err, or nothing.
func (x *exchange) overdue(err error) api.Field {
	write, _ := errors.AsType[*net.OpError](err)
	switch {
	case x.stream != nil && x.stream.wasCut():
		return streamTimeout
	case errors.Is(err, ErrCut) || errors.Is(x.Err(), ErrCut):
		return drainTimeout
	case errors.Is(err, ErrClientTimeout), write != nil && write.Op == "write" && isTimeout(err) && errors.Is(err, ErrBrokenOff):
		return clientTimeout
	case x.holdOver:
		return holdTimeout
	case errors.Is(err, ErrTimeout) && !isDialError(err):
		return targetTimeout
	}
	return ""
}
