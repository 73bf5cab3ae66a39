package forward

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/parachute-proxy/parachute/internal/api"
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
	target  api.Target
	timeout time.Duration
	http    *http.Transport

	// mu guards what follows.
	mu   sync.Mutex
	open map[*trackedConn]struct{}
}

// newStandardTransport returns a transport that opens connections with dial. config is for
// targets over TLS. timeout bounds how long the target may take to begin its answer; 0 waits.
func newStandardTransport(t api.Target, dial func(context.Context) (net.Conn, error), config *tls.Config, timeout time.Duration) *standardTransport {
	s := &standardTransport{target: t, timeout: timeout, open: make(map[*trackedConn]struct{})}
	s.http = newHTTPTransport(t, s.owning(dial), config)
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
	if err != nil && reused && transport.Idempotent(req.Method) && req.Body == http.NoBody && diedSilently(err) && req.Context().Err() == nil {
		// As with other targets: the connection may have ended before the request came.
		resp, _, err = s.try(req)
	}
	return resp, err
}

// try makes one attempt, over a connection that has been used before or not.
func (s *standardTransport) try(req *http.Request) (resp *http.Response, reused bool, err error) {
	began := time.Now()
	ctx, body := req.Context(), requestBodyOf(req)
	var upload *uploadWatch
	if body != nil {
		ctx, upload = newUploadWatch(ctx, s.timeout)
	}
	tell, _ := ctx.Value(transport.InformationalKey).(transport.InformationalFunc)
	informational := &informationalQueue{tell: tell}
	got := new(atomic.Pointer[httptrace.GotConnInfo])
	ctx = context.WithValue(ctx, connKey{}, got)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { got.Store(nil) },
		GotConn: func(info httptrace.GotConnInfo) {
			got.Store(&info)
			upload.resume()
			if body != nil {
				endsWith(req.Context(), info.Conn, body.replay.last())
			}
		},
		Got1xxResponse: informational.add,
	})
	out := s.adapt(req.WithContext(ctx))
	if body != nil {
		out.Body = body.attempt(req.Context(), upload)
		out.GetBody = func() (io.ReadCloser, error) {
			// net/http asks for the body again when nothing of the request was written, or
			// when the target says that it has not processed it, which is safe whatever its
			// method; or that it is malformed, which no target says of what it has processed
			// (golang.org/issue/42777).
			if body.touched() {
				return nil, errNotKept
			}
			return body.attempt(req.Context(), upload), nil
		}
	}

	resp, err = s.http.RoundTrip(out)
	refuse := func(reason error) {
		if err == nil {
			_ = resp.Body.Close()
		}
		resp, err = nil, reason
	}
	if upload.stop() {
		refuse(transport.ErrSlowAnswer)
	} else if err == nil && (resp.StatusCode < 100 || resp.StatusCode > 999) {
		refuse(fmt.Errorf("%w: the status %d", transport.ErrMalformed, resp.StatusCode))
	}
	informational.end(err == nil)
	switch {
	case err == nil:
		if body != nil {
			body.replay.keepNoMore()
		}
		if resp.ProtoMajor == 1 {
			mendNames(resp.Header)
		}
		if resp.ProtoMajor == 2 {
			// What waits for a window to write into, or for more of the answer, does not
			// look at the context.
			body := resp.Body
			resp.Body = &endingBody{body, context.AfterFunc(req.Context(), func() { _ = body.Close() })}
		}
	case got.Load() == nil && !isDialError(err) && isHandshakeError(err) && req.Context().Err() == nil:
		err = &dialError{err, began}
	}
	return resp, got.Load() != nil && got.Load().Reused, err
}

// mendNames removes the white space before a colon, as a proxy has to (RFC 9112, section
// 5.1): net/http leaves it in the name. What would say something about the framing has
// said nothing to net/http, and is dropped.
func mendNames(h http.Header) {
	for name, values := range h {
		mended := http.CanonicalHeaderKey(strings.TrimRight(name, " "))
		if len(mended) == len(name) {
			continue
		}
		delete(h, name)
		if !hopByHop(mended) && mended != "Content-Length" && httpguts.ValidHeaderFieldName(mended) {
			h[mended] = append(slices.Clip(h[mended]), values...)
		}
	}
}

// adapt makes of req, which is as the client sent it, what net/http sends. It
// changes it, but not its header, which another target may have use for.
func (s *standardTransport) adapt(req *http.Request) *http.Request {
	req.URL = requestURL(req.RequestURI)
	req.URL.Scheme, req.URL.Host = "http", s.target.HostHeader()
	if s.target.Scheme == "https" {
		req.URL.Scheme = "https"
	}
	req.RequestURI = ""
	if s.target.Scheme == "h2c" && req.Header["Upgrade"] != nil {
		req.Header = req.Header.Clone()
		req.Header.Del("Upgrade") // RFC 9113, section 8.2.2
		req.Header.Del("Connection")
	}
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
	case *spooledBody:
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

// endingBody is closed when the exchange ends, if not before.
type endingBody struct {
	io.ReadCloser
	spare func() bool
}

func (b *endingBody) Close() error {
	b.spare()
	return b.ReadCloser.Close()
}

// owning returns dial with the connections that it opens known to s.
func (s *standardTransport) owning(dial func(context.Context) (net.Conn, error)) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		conn, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		own := &trackedConn{Conn: conn, of: s}
		s.mu.Lock()
		closed := s.open == nil
		if !closed {
			s.open[own] = struct{}{}
		}
		s.mu.Unlock()
		if closed {
			_ = conn.Close()
			return nil, &dialError{errRetired, time.Now()}
		}
		return own, nil
	}
}
