package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/parachute-proxy/parachute/internal/transport"
)

const (
	// maxUnread is what a target may send of one answer over HTTP/2 before a slow
	// client has taken it.
	maxUnread = 256 << 10
	// writeTimeout is the time after which a connection over HTTP/2 that takes no byte
	// is given up: all requests to the target share it.
	writeTimeout = 30 * time.Second
)

// standardTransport carries requests over HTTP/2, or HTTP/1.1 with TLS, by the
// standard library's transport.
type standardTransport struct {
	target  Target
	timeout time.Duration
	http    *http.Transport

	// mu guards what follows.
	mu   sync.Mutex
	open map[*ownConn]struct{}
}

// newStandardTransport returns a transport that opens connections with dial. timeout
// bounds how long the target may take to begin its answer; 0 waits.
func newStandardTransport(t Target, dial func(context.Context) (net.Conn, error), timeout time.Duration) *standardTransport {
	s := &standardTransport{target: t, timeout: timeout, open: make(map[*ownConn]struct{})}
	s.http = newHTTPTransport(t, s.owning(dial))
	s.http.ResponseHeaderTimeout = timeout
	s.http.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: maxUnread, WriteByteTimeout: writeTimeout}
	return s
}

type connKey struct{}

// gotConn returns the connection that a request went over which ctx belongs to.
func gotConn(ctx context.Context) net.Conn {
	if got, ok := ctx.Value(connKey{}).(*atomic.Pointer[httptrace.GotConnInfo]); ok && got.Load() != nil {
		return got.Load().Conn
	}
	return nil
}

// RoundTrip implements [http.RoundTripper].
func (s *standardTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, reused, err := s.try(req)
	if err != nil && reused && idempotent(req.Method) && req.Body == http.NoBody && diedSilently(err) && req.Context().Err() == nil {
		// As with other targets: the connection may have ended before the request came.
		resp, _, err = s.try(req)
	}
	return resp, err
}

// diedSilently reports whether err means that a connection has ended.
func diedSilently(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// try makes one attempt, over a connection that has been used before or not.
func (s *standardTransport) try(req *http.Request) (resp *http.Response, reused bool, err error) {
	got := new(atomic.Pointer[httptrace.GotConnInfo])
	var upload *uploadWatch
	var body *requestBody
	trace := &httptrace.ClientTrace{
		GetConn: func(string) { got.Store(nil) },
		GotConn: func(info httptrace.GotConnInfo) {
			got.Store(&info)
			upload.resume()
			if body != nil {
				endsWith(info.Conn, body.spool.last())
			}
		},
	}
	if tell, ok := req.Context().Value(transport.InformationalKey).(transport.InformationalFunc); ok {
		trace.Got1xxResponse = func(code int, header textproto.MIMEHeader) error {
			return tell(code, http.Header(header))
		}
	}
	ctx := req.Context()
	if body = requestBodyOf(req); body != nil {
		ctx, upload = newUploadWatch(ctx, s.timeout)
		req = withBody(req, body, upload)
	}
	out := req.WithContext(httptrace.WithClientTrace(context.WithValue(ctx, connKey{}, got), trace))
	out.URL = requestURL(req.RequestURI)
	out.URL.Scheme, out.URL.Host = "http", s.target.host()
	if s.target.Scheme == "https" {
		out.URL.Scheme = "https"
	}
	out.RequestURI = ""
	if s.target.Scheme == "h2c" && out.Header["Upgrade"] != nil {
		out.Header = out.Header.Clone() // another target may have use for it
		out.Header.Del("Upgrade")       // which HTTP/2 has not (RFC 9113, section 8.2.2)
		out.Header.Del("Connection")
	}
	resp, err = s.http.RoundTrip(out)
	overdue := upload.stop()
	switch {
	case overdue:
		if err == nil {
			_ = resp.Body.Close()
		}
		resp, err = nil, transport.ErrSlowAnswer
	case err == nil:
		if body != nil {
			body.spool.keepNoMore()
		}
		if resp.ProtoMajor == 2 {
			// What waits for a window to write into, or for more of the answer, does not
			// look at the context.
			body := resp.Body
			resp.Body = &endingBody{body, context.AfterFunc(req.Context(), func() { _ = body.Close() })}
		}
	case got.Load() == nil && isHandshakeError(err) && req.Context().Err() == nil:
		err = &dialError{err}
	}
	return resp, got.Load() != nil && got.Load().Reused, err
}

// withBody returns req with the part of the body that net/http is to see.
func withBody(req *http.Request, body *requestBody, upload *uploadWatch) *http.Request {
	req = req.WithContext(req.Context())
	// net/http asks for the body again when nothing of the request was written, or when
	// the target says that it has not processed it, which is safe whatever its method; or
	// that it is malformed, which no target says of what it has processed
	// (golang.org/issue/42777).
	req.GetBody = func() (io.ReadCloser, error) {
		if body.touched() {
			return nil, errNotKept
		}
		return body.attempt(req.Context(), upload), nil
	}
	req.Body = body.attempt(req.Context(), upload)
	return req
}

// requestBodyOf returns the body of the exchange that req belongs to; nil if it has
// none.
func requestBodyOf(req *http.Request) *requestBody {
	switch body := req.Body.(type) {
	case *requestBody:
		return body
	case *bodyAttempt:
		return body.body
	}
	return nil
}

// isHandshakeError reports whether err, which came before there was a connection, is
// about the target and not about the request.
func isHandshakeError(err error) bool {
	_, network := errors.AsType[net.Error](err)
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, noTLS := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	return network || certificate || noTLS || alert || errors.Is(err, io.EOF)
}

// Close closes all connections, now and in future.
func (s *standardTransport) Close() {
	s.http.CloseIdleConnections()
	s.mu.Lock()
	open := s.open
	s.open = nil
	s.mu.Unlock()
	for conn := range open {
		_ = conn.Close()
	}
}

// Stats implements upstreamTransport. The standard library does not tell which
// connections are idle.
func (s *standardTransport) Stats() transport.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return transport.Stats{Open: len(s.open)}
}

// owning returns dial with the connections that it opens known to s.
func (s *standardTransport) owning(dial func(context.Context) (net.Conn, error)) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		conn, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		own := &ownConn{Conn: conn, of: s}
		s.mu.Lock()
		closed := s.open == nil
		if !closed {
			s.open[own] = struct{}{}
		}
		s.mu.Unlock()
		if closed {
			_ = conn.Close()
			return nil, &dialError{errRetired}
		}
		return own, nil
	}
}

// ownConn is a connection of a standardTransport's.
type ownConn struct {
	net.Conn
	of *standardTransport
	// upload, if not nil, ends when it is closed.
	upload atomic.Pointer[bodyAttempt]
}

// endsWith has an upload end when a connection of ours is closed, which net/http does
// before it waits for the request's body. Over HTTP/2, where it does not wait, only the
// last upload counts.
func endsWith(conn net.Conn, upload *bodyAttempt) {
	if tlsConn, ok := conn.(*tls.Conn); ok {
		conn = tlsConn.NetConn()
	}
	if own, ok := conn.(*ownConn); ok {
		own.upload.Store(upload)
	}
}

func (c *ownConn) Close() error {
	if upload := c.upload.Load(); upload != nil {
		_ = upload.Close()
	}
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite lets an upgraded connection be closed in one direction.
func (c *ownConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// endingBody is closed when the exchange ends, if not before.
type endingBody struct {
	io.ReadCloser
	spare func() bool
}

func (b *endingBody) Close() error {
	b.spare()
	return b.ReadCloser.Close()
}

// uploadWatch bounds how long a target may leave a request's body standing before it
// begins its answer. net/http's own time begins only when all of it has been sent. The
// time in which the client has nothing to send does not count.
type uploadWatch struct {
	timeout time.Duration

	// mu guards what follows.
	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
	overdue bool
}

// newUploadWatch returns a watch that resume begins, and a context that ends when the
// time is over. It is nil if there is no limit.
func newUploadWatch(ctx context.Context, timeout time.Duration) (context.Context, *uploadWatch) {
	if timeout <= 0 {
		return ctx, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	u := &uploadWatch{timeout: timeout}
	u.timer = time.AfterFunc(timeout, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if !u.stopped {
			u.overdue = true
			cancel(transport.ErrSlowAnswer)
		}
	})
	u.timer.Stop()
	return ctx, u
}

// pause is called when the target wants more of the body, resume when there is a
// connection to it and when it has been given some.
func (u *uploadWatch) pause() {
	if u != nil {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.timer.Stop()
	}
}

func (u *uploadWatch) resume() {
	if u != nil {
		u.mu.Lock()
		defer u.mu.Unlock()
		if !u.stopped {
			u.timer.Reset(u.timeout)
		}
	}
}

// stop ends the watch, because there is an answer or a failure, and reports whether the
// time is over.
func (u *uploadWatch) stop() (overdue bool) {
	if u == nil {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.stopped = true
	u.timer.Stop()
	return u.overdue
}
