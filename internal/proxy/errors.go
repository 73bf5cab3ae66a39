package proxy

import (
	"errors"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Request errors of [Engine.ServeHTTP], which also returns those of forward. The host
// decides what the client sees.
var (
	// ErrNoRoute means that no service claims the request's host and path.
	ErrNoRoute = errors.New("no service is deployed for this host and path")
	// ErrMisdirected means that the TLS handshake named another service's host
	// than the request does (RFC 9110, section 15.5.20).
	ErrMisdirected = errors.New("the TLS server name belongs to another service")
	// ErrRetired means that the request came too late to an engine that has been
	// retired.
	ErrRetired = errors.New("the configuration of the proxy has changed")
	// ErrClientCertificate means that the client has no certificate from an authority that the
	// service trusts.
	ErrClientCertificate = errors.New("the client has no certificate that the service trusts")
	// ErrLoop means that a probe of the engine's has come back to it: a target of a
	// deployment is the proxy itself.
	ErrLoop = errors.New("the proxy is its own target")
	// ErrHandlers means that the handlers of a service cannot be made. Its requests are refused:
	// what is missing may have been what keeps strangers out.
	ErrHandlers = errors.New("the handlers of the service cannot be made")
	// ErrPasswordsWait means that the password of a request was not checked in time, because those
	// of others were. It is the cause of a [HeldError].
	ErrPasswordsWait = errors.New("too many passwords wait to be checked")
	// ErrOtherHandlers means that a request was held until another service took over its route. It
	// has passed the handlers of the first one, which are not those of the second.
	ErrOtherHandlers = errors.New("the request has passed the handlers of another service, which has lost the route")
)

// ErrElsewhere means that another process decides about the services now: this one follows it,
// and has changed nothing. The call is to be made there.
var ErrElsewhere = &api.Error{
	Code:    api.CodeStopping,
	Message: "another process has taken over from this one; nothing has changed",
	Hint:    "try again",
}
