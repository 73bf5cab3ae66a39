package forward

// Sender is what the host knows about the sender of a request.
type Sender struct {
	// Trusted says that the sender is a proxy whose forwarding headers are
	// believed.
	Trusted bool
	// HTTPSPort is the port that clients reach HTTPS on, for redirects; negative if
	// HTTPS is not served. Default: 443.
	HTTPSPort int
	// Connection, if not nil, tells when the sender goes away, which the context of
	// the request then need not tell.
	Connection ClientConnection
	// AllowSilence, if not nil, is called when the answer is a stream: the sender may
	// be silent from here on, although its request has not come to its end.
	AllowSilence func()
}

// ClientConnection is the connection of the sender of a request.
type ClientConnection interface {
	// OnGone calls gone when the sender goes away, unless stop is called before.
	// gone must not wait for anything.
	OnGone(gone func()) (stop func())
}
