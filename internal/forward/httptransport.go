package forward

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

const (
	// idleConnTimeout is below the time after which common application servers
	// close an idle connection (Node.js: 5s), so that it is we who close it and
	// no request is written into a connection that is about to go away.
	idleConnTimeout = 4 * time.Second
	// maxIdleConns bounds the idle connections to one target.
	maxIdleConns = 512
)

// newHTTPTransport returns a transport of the standard library with the given dial. config
// is for targets over TLS. The transport changes it.
func newHTTPTransport(t api.Target, dial func(context.Context) (net.Conn, error), config *tls.Config) *http.Transport {
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
		tr.TLSClientConfig = config
	default:
		tr.Protocols.SetHTTP1(true)
	}
	return tr
}
