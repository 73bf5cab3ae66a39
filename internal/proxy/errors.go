package proxy

import (
	"errors"
)

// Request errors, as [Engine.ServeHTTP] returns them. The host decides what
// the client sees.
var (
	// ErrNoRoute means that no service claims the request's host and path.
	ErrNoRoute = errors.New("no service is deployed for this host and path")
	// ErrMisdirected means that the TLS handshake named another service's host
	// than the request does (RFC 9110, section 15.5.20).
	ErrMisdirected = errors.New("the TLS server name belongs to another service")
	// ErrRetired means that the request came too late to an engine that has been
	// retired.
	ErrRetired = errors.New("the proxy goes on without this engine")
	// ErrLoop means that a probe of the engine's has come back to it: a target of a
	// deployment is the proxy itself.
	ErrLoop = errors.New("the proxy is its own target")
	// ErrBadRequest means that the client's request was malformed in a way that
	// showed only when it was forwarded, such as a broken chunk.
	ErrBadRequest = errors.New("malformed request")
	// ErrClientTimeout means that the client stopped sending its request.
	ErrClientTimeout = errors.New("the client stopped sending its request")
	// ErrClientGone means that the client went away before it had its answer.
	ErrClientGone = errors.New("client closed the request")
	// ErrUnreachable means that no target could be reached.
	ErrUnreachable = errors.New("no target is reachable")
	// ErrTimeout means that the target did not answer within the target timeout.
	ErrTimeout = errors.New("the target did not answer in time")
	// ErrBadGateway means that the target broke off or gave an invalid answer.
	ErrBadGateway = errors.New("the target gave no valid answer")
	// ErrCut means that the request was cut because its release's drain
	// timeout was over.
	ErrCut = errors.New("cut: the drain timeout was over")
)
