package proxy

import (
	"encoding/json"
	"net/http"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
)

// Handlers makes what requests for a service pass on their way to a target. Its methods may be
// called by several goroutines.
type Handlers interface {
	// Adapt returns what the options of a service ask for in the form that is stored, or nil if
	// they ask for nothing. It makes them once, to see whether that works, while the person who
	// asks can be told. Its errors are an [api.Error] with [api.CodeInvalid].
	Adapt(service string, o *api.Options) (json.RawMessage, error)
	// Compile makes what Adapt has returned, now or in an earlier process. Its errors are for
	// the person who deploys, or starts the proxy.
	Compile(service string, adapted json.RawMessage) (Chain, error)
}

// Chain are the handlers of a release.
type Chain interface {
	// ServeHTTP has a request pass the handlers: one of them answers it, or it comes to
	// v.Next. An error means that nothing has been written: it is that of v.Next or a
	// [HandlerError].
	ServeHTTP(w http.ResponseWriter, r *http.Request, v *Visit) error
	// Close gives up what the handlers hold. No request is on its way through them any more,
	// and none will be.
	Close()
}

// Visit is a request on its way through the handlers of a release.
type Visit struct {
	// Record is whose request it is, and, once that is known, which target has got it.
	Record *forward.Record
	// Server is the server of the host's that the request has come to.
	Server any
	// Next forwards the request. It returns one of the errors of [Engine.ServeHTTP] if nothing
	// could be written. Handlers may call it again, which is another request to a target.
	Next func(w http.ResponseWriter, r *http.Request) error
	// Answered reports whether an answer has begun.
	Answered func() bool
}

// HandlerError is that a handler of the service has refused a request.
type HandlerError struct {
	// Status is the status to answer with.
	Status int
	// Reason says why in short, for a log.
	Reason string
	// Err says why; nil if there is nothing to say.
	Err error
}

func (e *HandlerError) Error() string {
	if e.Err == nil {
		return "a handler of the service has answered: " + http.StatusText(e.Status)
	}
	return "a handler of the service has answered: " + e.Err.Error()
}

// Unwrap returns why the request was refused.
func (e *HandlerError) Unwrap() error { return e.Err }
