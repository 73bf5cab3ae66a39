package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Transport is an [http.RoundTripper] for HTTP/1.1 to one address. It never
// follows the URL of a request: that only says what is asked for. Its exported
// fields must not change once it is in use.
type Transport struct {
	// Dial opens a connection to the address, within a time of its choosing. Its
	// error is returned as it is.
	Dial func(ctx context.Context) (net.Conn, error)
	// ResponseHeaderTimeout is the time that the target has, once it has the
	// request, to begin its final answer, and the longest that it may stop taking
	// the request. Default: no limit.
	ResponseHeaderTimeout time.Duration
	// IdleTimeout is how long an unused connection is kept. It should be below
	// the time after which the target closes it; one that names that time
	// (Keep-Alive: timeout=5) shortens it by itself. Default: 4s.
	IdleTimeout time.Duration
	// MaxIdle bounds the number of unused connections. Default: 512.
	MaxIdle int

	pool pool
	open atomic.Int64
	// keepAlive is the time for which the target says that it keeps connections.
	keepAlive atomic.Int64
	// distrustUntil is when a used connection may again carry a request that must
	// not be repeated, as a Unix time in nanoseconds.
	distrustUntil atomic.Int64
}

const (
	defaultIdleTimeout = 4 * time.Second
	defaultMaxIdle     = 512
	// trustedIdle is how long a connection may have been idle to carry a request
	// that must not be repeated. If the target closes the connection in the
	// moment in which we write, there is no telling whether it saw the request; a
	// new connection costs less than that doubt.
	trustedIdle = 500 * time.Millisecond
	// distrust is how long such requests get new connections after the target has
	// been seen to close a pooled one.
	distrust = 10 * time.Second
)

// Stats counts connections.
type Stats struct {
	// Open is the number of connections, upgraded ones included. Idle is the
	// number of those that wait for a request.
	Open, Idle int
}

// Stats returns the number of connections at this moment.
func (t *Transport) Stats() Stats {
	return Stats{Open: int(t.open.Load()), Idle: t.pool.len()}
}

// CloseIdleConnections closes the connections that wait for a request.
func (t *Transport) CloseIdleConnections() { t.pool.closeIdle(false) }

// Close closes the connections that wait for a request, and those that are in use
// as soon as they are not. A transport that has been closed works without a pool.
func (t *Transport) Close() { t.pool.closeIdle(true) }

// ErrInvalidRequest means that a request cannot be written so that it has only one
// meaning. Nothing has been sent.
var ErrInvalidRequest = errors.New("invalid request")

// ErrClosed means that the target closed or reset the connection before it
// answered.
var ErrClosed = errors.New("the target closed the connection without an answer")

// ErrNotSent is an ErrClosed that came before a byte of the request was written. A body
// that has a method Unread has got back what was read of it, as after a failed dial.
var ErrNotSent = fmt.Errorf("%w: it closed it before the request", ErrClosed)

// RoundTrip implements [http.RoundTripper], with four additions. It writes
// req.RequestURI as the request target if that is set, so that it can be passed on
// byte for byte. It reports informational answers to the function that the context
// has under [InformationalKey]. It looks at the context not at once but when the
// target makes it wait for more than a moment. The body of a 101 answer is an
// [*Upgraded].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	out, err := newOutgoing(req)
	if err != nil {
		closeBody(req)
		return nil, fmt.Errorf("%w: %w", ErrInvalidRequest, err)
	}
	defer out.release()
	return t.exchange(req, out, nil)
}

// exchange sends out, which was made of req, and again if that is safe. If begun is not nil, it is a
// connection on which that has been sent.
func (t *Transport) exchange(req *http.Request, out *outgoing, begun *conn) (*http.Response, error) {
	ctx := req.Context()
	now := time.Now()
	for fresh, lost := false, false; ; now = time.Now() {
		c, resp, err := t.attempt(ctx, out, begun, now, fresh)
		if c == nil {
			if !out.written {
				out.unread()
			}
			closeBody(req)
			return nil, err
		}
		begun = nil
		if err == nil {
			return resp, nil
		}
		c.close()
		again := !out.written || out.idempotent()
		if c.uses == 1 {
			// It may have gone while the client kept it waiting for the body. That is
			// believed once.
			again = out.bodyRead && !out.written && !lost
			lost = true
		}
		if !again || !errors.Is(err, ErrClosed) || context.Cause(ctx) != nil {
			if !out.written && errors.Is(err, ErrClosed) {
				out.unread()
				err = ErrNotSent
			}
			if !out.uploading {
				closeBody(req)
			}
			return nil, err
		}
		// More pooled connections may have died. What has been written once is not
		// tried on one of them again.
		fresh = out.written
	}
}

// attempt makes one attempt, on begun if that is not nil, and returns the connection; nil if there is none.
func (t *Transport) attempt(ctx context.Context, out *outgoing, begun *conn, now time.Time, fresh bool) (*conn, *http.Response, error) {
	if begun != nil {
		begun.ctx = ctx
		resp, err := begun.resume(out)
		return begun, resp, err
	}
	c, err := t.connection(ctx, out, now, fresh)
	if err != nil {
		return nil, nil, err
	}
	if c.uses == 0 {
		now = time.Now() // dialling took its time
	}
	resp, err := c.roundTrip(ctx, out, now)
	return c, resp, err
}

// connection returns a connection for a request: a pooled one, unless there is
// none, or the request needs a fresh one, or better has it.
func (t *Transport) connection(ctx context.Context, out *outgoing, now time.Time, fresh bool) (*conn, error) {
	maxIdle := t.idleTimeout()
	if !out.idempotent() {
		maxIdle = min(maxIdle, trustedIdle)
		fresh = fresh || now.UnixNano() < t.distrustUntil.Load()
	}
	for !fresh {
		c := t.pool.take(now, maxIdle)
		if c == nil {
			break
		}
		// A body is read before the request is written, and could not be read a
		// second time.
		if out.body == nil || c.socket.quiet() {
			return c, nil
		}
		t.foundClosed()
		c.close()
	}
	nc, err := t.Dial(ctx)
	if err != nil {
		return nil, err
	}
	t.open.Add(1)
	return newConn(t, nc), nil
}

// foundClosed notes that the target had closed a pooled connection.
func (t *Transport) foundClosed() {
	t.distrustUntil.Store(time.Now().Add(distrust).UnixNano())
}

// recycle keeps c for another request.
func (t *Transport) recycle(c *conn) {
	limit := t.MaxIdle
	if limit == 0 {
		limit = defaultMaxIdle
	}
	if !t.pool.put(c, limit, t.idleTimeout()) {
		c.close()
	}
}

func (t *Transport) idleTimeout() time.Duration {
	idle := t.IdleTimeout
	if idle == 0 {
		idle = defaultIdleTimeout
	}
	if announced := time.Duration(t.keepAlive.Load()); announced > 0 {
		idle = min(idle, announced)
	}
	return idle
}

// heed shortens the life of idle connections to what the target says about it
// with a Keep-Alive header, less what a request may be on its way.
func (t *Transport) heed(keepAlive string) {
	for parameter := range strings.SplitSeq(keepAlive, ",") {
		value, ok := strings.CutPrefix(strings.TrimSpace(parameter), "timeout=")
		if seconds, err := strconv.ParseUint(value, 10, 16); ok && err == nil {
			idle := time.Duration(seconds) * time.Second
			t.keepAlive.Store(int64(max(idle-time.Second, idle/2, time.Millisecond)))
		}
	}
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// InformationalFunc receives an informational answer (RFC 9110, section 15.2)
// other than 101. If it returns an error, the exchange ends with it.
type InformationalFunc func(status int, header http.Header) error

type informationalKey struct{}

// InformationalKey is the key of an [InformationalFunc] in a request's context.
var InformationalKey any = informationalKey{}

// timeoutError says that the target took too long. It is a [net.Error].
type timeoutError string

func (e timeoutError) Error() string { return string(e) }

// Timeout implements [net.Error].
func (timeoutError) Timeout() bool { return true }

// Temporary implements [net.Error].
func (timeoutError) Temporary() bool { return true }

const (
	// ErrSlowAnswer says that [Transport.ResponseHeaderTimeout] was over.
	ErrSlowAnswer = timeoutError("the target did not begin its answer in time")
	errSlowReader = timeoutError("the target stopped taking the request")
)

var (
	_ http.RoundTripper = (*Transport)(nil)
	_ net.Error         = timeoutError("")
)
