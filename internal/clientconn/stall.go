package clientconn

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// stallLimit bounds how long a client may stall: stop sending the body of its
// request, or stop taking the answer. Caddy's server does this for every request
// with timers that cost a tenth of a small one. For HTTP/1.1, the system has a
// timer for what a client does not take anyway (TCP_USER_TIMEOUT), and a request
// without a body needs none for what it does not send.
type stallLimit struct {
	limit  time.Duration
	logger *zap.Logger
	// read and write bound a whole request and a whole answer, if they are not 0: the
	// server's own timeouts, which each move of a deadline would lift.
	read, write time.Duration
}

// on returns the limit for the clients of a server.
func (t stallLimit) on(server *caddyhttp.Server) stallLimit {
	t.read, t.write = time.Duration(server.ReadTimeout), time.Duration(server.WriteTimeout)
	if hasUserTimeout {
		server.RegisterConnContext(t.connContext)
	}
	return t
}

// connContext is for [http.Server.ConnContext]. It has the system apply the limit.
func (t stallLimit) connContext(ctx context.Context, c net.Conn) context.Context {
	l := &systemLimit{conn: c}
	l.set(t.limit)
	return context.WithValue(ctx, systemLimitKey{}, l)
}

// systemLimit is how long the system lets a client take nothing of what was sent to it. The
// connection keeps it, and may outlive the config that asked for it.
type systemLimit struct {
	conn net.Conn
	// limit is a [time.Duration]; 0 is for none.
	limit atomic.Int64
}

func (l *systemLimit) set(limit time.Duration) {
	if l.limit.Load() != int64(limit) && l.limit.Swap(int64(limit)) != int64(limit) {
		setUserTimeout(l.conn, limit)
	}
}

// systemLimitKey is the context key of the *systemLimit of a connection.
type systemLimitKey struct{}

// boundBySystem reports whether the system sees to it that the answer to a request of HTTP/1, which came by
// c and has the context ctx, is not stalled for longer than t.limit. c may be nil.
func (t stallLimit) boundBySystem(ctx context.Context, c *Conn) bool {
	if !hasUserTimeout {
		return false
	}
	var by *systemLimit
	if c != nil {
		by = c.stall.Load()
	}
	if by == nil {
		if by, _ = ctx.Value(systemLimitKey{}).(*systemLimit); by == nil {
			return false // the config that accepted the connection had no use for it
		}
		if c != nil {
			c.stall.Store(by)
		}
	}
	by.set(t.limit)
	return t.limit > 0
}

// guarded is a request that the limit is applied to.
type guarded struct {
	// done has to be called when the request is over.
	done func()
	// allowSilence lets the client be silent from here on; nil if it may be already.
	allowSilence func()
}

// guard returns w and r, which came by c, with the limit applied. It changes the body of r.
// c may be nil.
func (t stallLimit) guard(c *Conn, w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request, guarded) {
	// What comes with a CONNECT is no body but what the client says on a WebSocket, and
	// it may say nothing for as long as it likes.
	tunnel := r.Method == http.MethodConnect
	hasBody := r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0 && !tunnel
	bySystem := r.ProtoMajor == 1 && t.boundBySystem(r.Context(), c) // over HTTP/2 and 3, other requests go on
	if t.limit == 0 && !tunnel && !hasBody || bySystem && !hasBody {
		return w, r, guarded{done: nothing}
	}
	if reader, writer := caddyhttp.IdleTimeoutsFromContext(r.Context()); reader != nil || writer != nil {
		return w, r, t.override(reader, writer, tunnel)
	}
	if t.limit == 0 {
		return w, r, guarded{done: nothing}
	}
	g := guarded{done: nothing}
	rc := http.NewResponseController(w)
	now := time.Now()
	if hasBody {
		reader := &caddyhttp.IdleTimeoutReader{
			ReadCloser: r.Body, Ctrl: rc, Deadline: t.deadline(now, t.read), Logger: t.logger,
			DrainDeadline: r.ProtoMajor == 1, ClearBetweenReads: r.ProtoMajor == 2,
		}
		restore := nothing
		r.Body = reader
		g.allowSilence = func() { restore = reader.Override(noLimit, 0) }
		g.done = func() {
			restore()
			reader.HandlerDone()
		}
		w = &readDeadlineWriter{caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, reader}
	}
	if bySystem {
		return w, r, g
	}
	whole := t.write
	if tunnel {
		whole = 0 // as for a connection that has been taken over
	}
	bodyDone := g.done
	writer := &caddyhttp.IdleTimeoutWriter{
		ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w},
		Ctrl:                  rc, Deadline: t.deadline(now, whole), Logger: t.logger, ClearBetweenWrites: r.ProtoMajor == 2,
	}
	if r.ProtoMajor == 2 && !tunnel {
		answer := newSmallAnswer(writer)
		g.done = func() {
			answer.done(t.limit, writer.Deadline.HardDeadline)
			bodyDone()
		}
		return answer, r, g
	}
	g.done = func() {
		writer.HandlerDone()
		bodyDone()
	}
	return writer, r, g
}

// deadline returns the deadline of what begins now: after a stall of t.limit, and when
// all of it has taken longer than whole, if that is not 0.
func (t stallLimit) deadline(now time.Time, whole time.Duration) caddyhttp.IdleDeadline {
	d := caddyhttp.IdleDeadline{Start: now, Timeout: t.limit}
	if whole > 0 {
		d.HardDeadline = now.Add(whole)
	}
	return d
}

// noLimit is longer than anything lasts, and short enough to be added to the time.
const noLimit = 100 * 365 * 24 * time.Hour

// override changes the timers of a server that has its own.
func (t stallLimit) override(reader *caddyhttp.IdleTimeoutReader, writer *caddyhttp.IdleTimeoutWriter, tunnel bool) (g guarded) {
	restoreReader, restoreWriter, restoreSilence := nothing, nothing, nothing
	if reader != nil {
		allowSilence := func() { restoreSilence = reader.Override(noLimit, 0) }
		if tunnel {
			allowSilence()
		} else {
			g.allowSilence = allowSilence
		}
		if t.limit > 0 && !tunnel {
			restoreReader = reader.Override(t.limit, 0)
		}
	}
	if writer != nil && t.limit > 0 {
		restoreWriter = writer.Override(t.limit, 0, 0)
	}
	g.done = func() {
		restoreSilence()
		restoreReader()
		restoreWriter()
	}
	return g
}

// readDeadlineWriter hands read deadlines to the reader of the body. Set past it, a
// deadline that ends a read would be replaced by the reader's own if the read was
// only about to begin.
type readDeadlineWriter struct {
	caddyhttp.ResponseWriterWrapper
	reader *caddyhttp.IdleTimeoutReader
}

// SetReadDeadline is what [http.ResponseController] calls.
func (w *readDeadlineWriter) SetReadDeadline(deadline time.Time) error {
	return w.reader.SetReadDeadline(deadline)
}

func nothing() {}
