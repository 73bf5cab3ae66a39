package forward

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/parachute-proxy/parachute/internal/transport"
)

// exchange is one request on its way through a release. It is also the context of
// the request to the target: the client's, which ends with a cut as well. Deriving
// a context costs more than a quick exchange has to wait, so that happens only
// when someone asks to be told of its end.
type exchange struct {
	client context.Context
	prefix string
	from   Sender
	w      http.ResponseWriter
	in     *http.Request
	pooled *targetHeader
	body   *requestBody // nil without a body
	call   *call        // nil unless it is a gRPC call
	// repeated says that the request has been sent again which a target may have seen.
	repeated bool
	// informed says that an informational answer has been passed on.
	informed bool
	// status is what the client was answered with; 0 if there is no answer yet.
	status int
	// counted says that the request has been counted: a stream when it begins, others when
	// they end.
	counted bool
	// large says that there is much to send or to receive, which takes as long as the client
	// does.
	large bool
	// holdOver says that the request was held until the time for that was over.
	holdOver bool
	// sentAt is when the last attempt began, and answeredIn how long that took to be
	// answered, if there is a record to keep.
	sentAt     time.Time
	answeredIn time.Duration
	slot

	// mu guards what follows.
	mu      sync.Mutex
	derived context.Context
	cancel  context.CancelCauseFunc
	// outlivesCut says that a cut of the release does not end the exchange.
	outlivesCut bool
	// released says that the connection must not be watched any more.
	released bool
	stop     func() bool
	// stopWatch, if not nil, ends the watch of the client's connection.
	stopWatch func()
}

// errExchangeEnded is the cause of the end of an exchange that came to its end.
var errExchangeEnded = errors.New("the exchange has ended")

type exchangeKey struct{}

// Deadline implements [context.Context].
func (x *exchange) Deadline() (time.Time, bool) { return x.client.Deadline() }

// Done implements [context.Context].
func (x *exchange) Done() <-chan struct{} { return x.derive().Done() }

// AfterFunc is what [context.AfterFunc] uses if there is one.
func (x *exchange) AfterFunc(f func()) func() bool { return context.AfterFunc(x.derive(), f) }

// Err implements [context.Context].
func (x *exchange) Err() error {
	x.mu.Lock()
	derived, cut := x.derived, !x.outlivesCut && x.release.cut.Err() != nil
	x.mu.Unlock()
	switch {
	case cut:
		return ErrCut
	case derived != nil && derived.Err() != nil:
		return derived.Err()
	}
	return x.client.Err()
}

// Value implements [context.Context].
func (x *exchange) Value(key any) any {
	switch key {
	case exchangeKey{}:
		return x
	case transport.InformationalKey:
		return transport.InformationalFunc(x.passInformational)
	}
	return x.client.Value(key)
}

// derive returns a context that ends with the client's, with a cut, or with the
// exchange.
func (x *exchange) derive() context.Context {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.derived == nil {
		x.derived, x.cancel = context.WithCancelCause(x.client)
		if !x.outlivesCut {
			cancel := x.cancel
			x.stop = context.AfterFunc(&x.release.cut, func() { cancel(ErrCut) })
		}
		if x.from.Connection != nil && !x.released {
			cancel := x.cancel
			x.stopWatch = x.from.Connection.OnGone(func() { cancel(ErrClientGone) })
		}
	}
	return x.derived
}

// releaseClient ends the watch of the client's connection, for good.
func (x *exchange) releaseClient() {
	x.mu.Lock()
	unwatch := x.stopWatch
	x.stopWatch, x.released = nil, true
	x.mu.Unlock()
	if unwatch != nil {
		unwatch()
	}
}

// clientGone reports whether the client is known to have gone away.
func (x *exchange) clientGone() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.client.Err() != nil || x.derived != nil && context.Cause(x.derived) == ErrClientGone
}

// abort ends all waiting for the target.
func (x *exchange) abort() {
	x.derive()
	x.cancel(errExchangeEnded)
}

// becomeStream turns the request into a stream: from here on it is closed by a
// drain and not waited for.
func (x *exchange) becomeStream(closer streamCloser) {
	x.mu.Lock()
	x.outlivesCut = true
	if x.stop != nil {
		x.stop()
	}
	x.mu.Unlock()
	x.stream = &stream{closer: closer}
	x.release.addStream(x.stream)
	x.release.Done()
}

// slot is where an exchange is counted.
type slot struct {
	release  *Release
	upstream *upstream // nil if it is with none
	// stream is set when the request has turned into a stream.
	stream *stream
}

// leave gives up the place.
func (p *slot) leave() {
	p.leaveUpstream()
	if p.stream != nil {
		p.release.removeStream(p.stream)
	} else {
		p.release.Done()
	}
}

func (p *slot) enterUpstream(u *upstream) {
	p.leaveUpstream()
	u.inFlight.Add(1)
	p.upstream = u
}

func (p *slot) leaveUpstream() {
	if p.upstream != nil {
		p.upstream.inFlight.Add(-1)
		p.upstream = nil
	}
}

// maxRequestID bounds what is kept of an id, which the client may have chosen.
const maxRequestID = 256

// recordOf returns the record of x, which has not left its target yet.
func (x *exchange) recordOf() Record {
	r := x.release.Record()
	r.UpstreamDuration = x.answeredIn
	if x.upstream != nil {
		r.Target = x.upstream.target.String()
	}
	if x.pooled != nil {
		if id := x.pooled.fields["X-Request-Id"]; len(id) > 0 {
			r.RequestID = id[0][:min(len(id[0]), maxRequestID)]
		}
	}
	return r
}

// beginAttempt notes when the request is sent to a target, if anybody wants to know.
func (x *exchange) beginAttempt() {
	if x.from.Record != nil {
		x.sentAt = time.Now()
	}
}

// endAttempt notes how long the target took to begin its answer.
func (x *exchange) endAttempt() {
	if x.from.Record != nil {
		x.answeredIn = time.Since(x.sentAt)
	}
}

// passInformational passes on an informational answer, to clients that know what
// that is: HTTP/1.0 does not (RFC 9110, section 15.2).
func (x *exchange) passInformational(status int, header http.Header) error {
	switch {
	case !x.in.ProtoAtLeast(1, 1):
		return nil
	case status == http.StatusContinue && x.in.ProtoMajor < 3:
		return nil // which the client gets when the body is read
	}
	x.informed = true
	switch {
	case x.body == nil:
		inform(x.w, x.in.ProtoMajor, status, header)
	default:
		x.body.beforeAnswer(func() { inform(x.w, x.in.ProtoMajor, status, header) })
	}
	return nil
}
