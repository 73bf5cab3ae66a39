package forward

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
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
// byte of the request has been sent, or the target has said that it did not process it.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

func isDialError(err error) bool {
	_, ok := errors.AsType[*dialError](err)
	return ok
}

// newTransport returns the transport for requests to t. Its dials end with
// alive, so that nothing reaches the address of a release that has drained.
func newTransport(t api.Target, o api.Options, alive *endSignal, f *Forwarder) upstreamTransport {
	if t.Scheme == "http" {
		return &transport.Transport{
			Dial:                  dialer(t, alive, f),
			ResponseHeaderTimeout: time.Duration(o.TargetTimeout),
			IdleTimeout:           idleConnTimeout,
			MaxIdle:               maxIdleConns,
		}
	}
	return newStandardTransport(t, dialer(t, alive, f), time.Duration(o.TargetTimeout))
}

var errRetired = errors.New("the release is retired")

// dialer returns a function that connects to t and nowhere else: through no proxy
// from the environment, to no address from a request.
func dialer(t api.Target, alive *endSignal, f *Forwarder) func(context.Context) (net.Conn, error) {
	d := f.dialer
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
func newHTTPTransport(t api.Target, dial func(context.Context) (net.Conn, error)) *http.Transport {
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
