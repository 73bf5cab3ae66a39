package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parachute-proxy/parachute/internal/transport"
)

const (
	// dialTimeout bounds how long a connection to a target may take to come about.
	dialTimeout = 5 * time.Second
	// idleConnTimeout is below the time after which common application servers
	// close an idle connection (Node.js: 5s), so that it is we who close it and
	// no request is written into a connection that is about to go away.
	idleConnTimeout = 4 * time.Second
	// maxIdleConns bounds the idle connections to one target.
	maxIdleConns = 512
)

// upstreamTransport carries requests to one target.
type upstreamTransport interface {
	http.RoundTripper
	// Close gives up pooled connections, now and in future.
	Close()
	// Stats counts connections.
	Stats() transport.Stats
}

// dialError marks an error that happened before a connection existed: not one
// byte of the request has been sent.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

func isDialError(err error) bool {
	_, ok := errors.AsType[*dialError](err)
	return ok
}

// newTransport returns the transport for requests to t. Its dials end with
// alive, so that nothing reaches the address of a release that has drained.
func newTransport(t Target, o Options, alive *ending, opts EngineOptions) upstreamTransport {
	if t.Scheme == "http" {
		return &transport.Transport{
			Dial:                  dialer(t, alive, opts),
			ResponseHeaderTimeout: time.Duration(o.TargetTimeout),
			IdleTimeout:           idleConnTimeout,
			MaxIdle:               maxIdleConns,
		}
	}
	s := &standardTransport{target: t}
	s.http = newHTTPTransport(t, s.counting(dialer(t, alive, opts)))
	s.http.ResponseHeaderTimeout = time.Duration(o.TargetTimeout)
	return s
}

var errRetired = errors.New("the release is retired")

// dialer returns a function that connects to t and nowhere else: through no proxy
// from the environment, to no address from a request.
func dialer(t Target, alive *ending, opts EngineOptions) func(context.Context) (net.Conn, error) {
	d := opts.dialer
	return func(ctx context.Context) (net.Conn, error) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		stop := alive.AfterFunc(func() { cancel(errRetired) })
		defer stop()
		conn, err := d.DialContext(ctx, t.Network, t.Address)
		if err != nil {
			return nil, &dialError{fmt.Errorf("connecting to %s: %w", t, err)}
		}
		return conn, nil
	}
}

// newHTTPTransport returns a transport of the standard library with the given dial.
func newHTTPTransport(t Target, dial func(context.Context) (net.Conn, error)) *http.Transport {
	tr := &http.Transport{
		DialContext:           func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableCompression:    true, // what the client accepts is for the target to answer
		MaxIdleConnsPerHost:   maxIdleConns,
		IdleConnTimeout:       idleConnTimeout,
		TLSHandshakeTimeout:   dialTimeout,
		ExpectContinueTimeout: time.Second,
		Protocols:             new(http.Protocols),
	}
	switch t.Scheme {
	case "h2c":
		tr.Protocols.SetUnencryptedHTTP2(true)
	case "https":
		tr.Protocols.SetHTTP1(true)
		tr.Protocols.SetHTTP2(true)
		host, _, _ := net.SplitHostPort(t.Address)
		tr.TLSClientConfig = &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	default:
		tr.Protocols.SetHTTP1(true)
	}
	return tr
}

// standardTransport carries requests over HTTP/2, or HTTP/1.1 with TLS, by the
// standard library's transport.
type standardTransport struct {
	target Target
	http   *http.Transport
	open   atomic.Int64
}

type connKey struct{}

// gotConn returns the connection that a request went over which ctx belongs to.
func gotConn(ctx context.Context) net.Conn {
	if conn, ok := ctx.Value(connKey{}).(*atomic.Pointer[net.Conn]); ok && conn.Load() != nil {
		return *conn.Load()
	}
	return nil
}

func (s *standardTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	conn := new(atomic.Pointer[net.Conn])
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { conn.Store(&info.Conn) }}
	if tell, ok := req.Context().Value(transport.InformationalKey).(transport.InformationalFunc); ok {
		trace.Got1xxResponse = func(code int, header textproto.MIMEHeader) error {
			return tell(code, http.Header(header))
		}
	}
	ctx := httptrace.WithClientTrace(context.WithValue(req.Context(), connKey{}, conn), trace)
	out := req.WithContext(ctx)
	out.URL = requestURL(req.RequestURI)
	out.URL.Scheme, out.URL.Host = "http", s.target.host()
	if s.target.Scheme == "https" {
		out.URL.Scheme = "https"
	}
	out.RequestURI = ""
	if b, ok := out.Body.(*requestBody); ok {
		out.GetBody = func() (io.ReadCloser, error) { return b.attempt(req.Context()) }
		var err error
		if out.Body, err = out.GetBody(); err != nil {
			return nil, err
		}
	}
	return s.http.RoundTrip(out)
}

func (s *standardTransport) Close() { s.http.CloseIdleConnections() }

// Stats implements upstreamTransport. The standard library does not tell which
// connections are idle.
func (s *standardTransport) Stats() transport.Stats {
	return transport.Stats{Open: int(s.open.Load())}
}

// counting counts the connections that dial opens.
func (s *standardTransport) counting(dial func(context.Context) (net.Conn, error)) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		conn, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		s.open.Add(1)
		return &countedConn{Conn: conn, open: &s.open}, nil
	}
}

// countedConn counts itself out when it is closed.
type countedConn struct {
	net.Conn
	open *atomic.Int64
	once sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}

// CloseWrite lets an upgraded connection be closed in one direction.
func (c *countedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
