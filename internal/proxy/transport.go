package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
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
func newTransport(t Target, o Options, alive context.Context, opts EngineOptions) transport {
	tr := newHTTPTransport(t, alive, opts)
	tr.ResponseHeaderTimeout = time.Duration(o.TargetTimeout)
	return tr
}

// newHTTPTransport returns a standard transport that connects to t and nowhere
// else: no proxy from the environment, no address from the request.
func newHTTPTransport(t Target, alive context.Context, opts EngineOptions) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second, Resolver: opts.Resolver}
	tr := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			ctx, cancel := context.WithCancelCause(ctx)
			defer cancel(nil)
			stop := context.AfterFunc(alive, func() { cancel(errRetired) })
			defer stop()
			conn, err := dialer.DialContext(ctx, t.Network, t.Address)
			if err != nil {
				return nil, &dialError{fmt.Errorf("connecting to %s: %w", t, err)}
			}
			return conn, nil
		},
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

var errRetired = errors.New("the release is retired")
