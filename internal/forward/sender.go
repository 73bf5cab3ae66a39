package forward

import (
	"net/http"
	"strings"
	"time"
)

// Sender is what the host knows about the sender of a request.
type Sender struct {
	// Trusted says that the sender is a proxy whose forwarding headers are
	// believed.
	Trusted bool
	// Ports are what redirects to HTTPS go by.
	Ports Ports
	// Connection, if not nil, tells when the sender goes away, which the context of
	// the request then need not tell.
	Connection ClientConnection
	// AllowSilence, if not nil, is called when the answer is a stream: the sender may
	// be silent from here on, although its request has not come to its end.
	AllowSilence func()
	// Began is when the request came. Default: now.
	Began time.Time
	// Waited says that the request has waited for something else than its release.
	Waited bool
	// Server is the server of the host's that the request has come to, for handlers of the
	// host's.
	Server any
	// TargetHeader is the canonical name of a header field in which a target is told its own
	// address. Default: none.
	TargetHeader string
	// Record, if not nil, is filled in when the request ends.
	Record *Record
	// Begun, if not nil, is what has been begun of the request, which was to be passed through.
	Begun *Begun
}

// ByTLS reports whether the client that in comes from came by TLS, to us or to a trusted
// proxy. Of several proxies, the first knows.
func (s Sender) ByTLS(in *http.Request) bool {
	if in.TLS != nil || !s.Trusted {
		return in.TLS != nil
	}
	first, _, _ := strings.Cut(in.Header.Get("X-Forwarded-Proto"), ",")
	return strings.EqualFold(strings.TrimSpace(first), "https")
}

// duration returns how long the request has taken.
func (s *Sender) duration() time.Duration { return time.Since(s.Began) }

// Ports are the ports that a proxy is reached on.
type Ports struct {
	// HTTP and HTTPS are those that it listens on. HTTPS is negative if it serves none.
	// Default: 80 and 443.
	HTTP, HTTPS int
	// PublicHTTPS is the port for HTTPS that clients have to use, if the operator says so.
	PublicHTTPS int
}

// ClientConnection is the connection of the sender of a request.
type ClientConnection interface {
	// OnGone calls gone when the sender goes away, unless stop is called before.
	// gone must not wait for anything.
	OnGone(gone func()) (stop func())
}
