package forward

import (
	"errors"
	"net/http"
)

// Errors of [Release.Forward]. The host decides what the client sees.
var (
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

// StatusClientClosedRequest is what nginx and Caddy log for a client that went away. It is
// never sent, since no one is there to receive it.
const StatusClientClosedRequest = 499

// StatusOf returns the status that a client is answered with for err, an error of
// [Release.Forward]. What is none of those is the target's fault.
func StatusOf(err error) int {
	switch {
	case errors.Is(err, ErrBadRequest):
		return http.StatusBadRequest
	case errors.Is(err, ErrClientTimeout):
		return http.StatusRequestTimeout
	case errors.Is(err, ErrClientGone):
		return StatusClientClosedRequest
	case errors.Is(err, ErrTimeout):
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}
