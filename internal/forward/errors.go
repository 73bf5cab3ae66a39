package forward

import (
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/parachute-proxy/parachute/internal/transport"
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
	// ErrLargeBody means that the body of the request is larger than the service allows.
	ErrLargeBody = errors.New("the body of the request is too large")
	// ErrNoRoom means that the body of the request could not be buffered.
	ErrNoRoom = errors.New("the body of the request cannot be buffered")
	// ErrLargeAnswer means that the body of the answer is larger than the service allows.
	ErrLargeAnswer = errors.New("the body of the answer is too large")
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
	intercepted, isIntercepted := errors.AsType[*InterceptedError](err)
	switch {
	case isIntercepted:
		return intercepted.Status
	case errors.Is(err, ErrBadRequest):
		return http.StatusBadRequest
	case errors.Is(err, ErrClientTimeout):
		return http.StatusRequestTimeout
	case errors.Is(err, ErrClientGone):
		return StatusClientClosedRequest
	case errors.Is(err, ErrLargeBody):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, ErrNoRoom):
		return http.StatusInsufficientStorage
	case errors.Is(err, ErrTimeout), errors.Is(err, ErrCut):
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}

// ErrMoved says that a request was held, or has waited for a connection, which may be sent again, and that its
// release has been replaced meanwhile: the next one may serve it.
var ErrMoved = errors.New("the release was replaced while the request waited")

// ErrBrokenOff says that an answer could not be passed on to its end.
var ErrBrokenOff = errors.New("broken off")

// requestError is a request error with its cause, for the log.
type requestError struct{ kind, cause error }

func wrap(kind, cause error) error           { return &requestError{kind, cause} }
func (e *requestError) Error() string        { return e.kind.Error() + ": " + e.cause.Error() }
func (e *requestError) Is(target error) bool { return e.kind == target }
func (e *requestError) Unwrap() error        { return e.cause }

// dialError marks an error that happened before a connection existed: not one
// byte of the request has been sent, or the target has said that it did not process it.
type dialError struct {
	err error
	// began is when the attempt began that err is about.
	began time.Time
}

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

func isDialError(err error) bool {
	_, ok := errors.AsType[*dialError](err)
	return ok
}

var errRetired = errors.New("the release is retired")

// isBodyError reports whether err is about the client's body.
func isBodyError(err error) bool {
	_, ok := errors.AsType[*transport.BodyError](err)
	return ok
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}

// diedSilently reports whether err means that a connection has ended.
func diedSilently(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
