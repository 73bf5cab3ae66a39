package api

import (
	"errors"
	"fmt"
	"slices"
)

// Code classifies an [Error]. Codes are part of the API: clients branch on
// them, so they never change their meaning.
type Code string

const (
	// CodeInvalid marks a request that can never succeed as it is written.
	CodeInvalid Code = "invalid_request"
	// CodeNotHealthy marks a deployment whose targets did not become healthy
	// within its deploy timeout. The old release still serves.
	CodeNotHealthy Code = "not_healthy"
	// CodeRouteConflict marks a deployment that wants a route which another
	// service owns.
	CodeRouteConflict Code = "route_conflict"
	// CodeSuperseded marks a deployment that a newer one of the same service,
	// or its removal, overtook before it could switch.
	CodeSuperseded Code = "superseded"
	// CodeCancelled marks a deployment whose caller went away before the switch.
	CodeCancelled Code = "cancelled"
	// CodeNotFound marks an operation on a service or deployment that does not
	// exist.
	CodeNotFound Code = "not_found"
	// CodeDrainTimeout marks a deployment or removal that took effect but had
	// to cut requests or streams of the old release, which it was to fail on.
	CodeDrainTimeout Code = "drain_timeout"
	// CodeCertificate marks a deployment that got no certificate. The old release
	// still serves.
	CodeCertificate Code = "certificate_failed"
	// CodeVetoed marks a deployment whose switch was refused by who is asked before it.
	// The old release still serves.
	CodeVetoed Code = "vetoed"
	// CodeReverted marks a deployment whose release served, failed more than it may, or was
	// given up, and has left again. The old release serves.
	CodeReverted Code = "reverted"
	// CodeUndecided marks a deployment whose release gets a share of the clients until
	// somebody promotes or aborts it. Both releases serve.
	CodeUndecided Code = "undecided"
	// CodeChanged marks an operation on a service that has changed since its caller looked.
	CodeChanged Code = "changed"
	// CodeStorage marks an operation that changed nothing because its result
	// could not be stored.
	CodeStorage Code = "storage_failed"
	// CodeUpgrade marks an upgrade in which no process has taken over: the one before goes on.
	CodeUpgrade Code = "upgrade_failed"
	// CodeFleet marks an operation that changed nothing, because the fleet could not decide on
	// it: its store cannot be reached, or a proxy of it is missing.
	CodeFleet Code = "fleet_unavailable"
	// CodeFleetUnknown marks an operation of which it is not known whether the fleet has decided
	// on it, because its store has not answered.
	CodeFleetUnknown Code = "fleet_unknown"
	// CodeFleetIncomplete marks an operation that took effect, but that not every proxy of the
	// fleet has confirmed: some may still send requests to the release before.
	CodeFleetIncomplete Code = "fleet_incomplete"
	// CodeStopping marks an operation refused because the proxy is stopping.
	CodeStopping Code = "stopping"
)

// Error is a failure that is meant for the person who asked: what happened,
// and, where there is one, the way out.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	// Hint says what to do about it. It may be empty.
	Hint string `json:"hint,omitempty"`
	// Fields are the settings that Message and Hint name, by their places in the JSON of a
	// request. There they are between backquotes, some with a value: "`hosts=a.test`". Who
	// has other names for settings, as a command line has flags, can put those there.
	Fields []Field `json:"fields,omitempty"`
	// Details holds the outcome of the probes of a deployment that was not
	// healthy, one element for each target.
	Details []ProbeReport `json:"details,omitempty"`

	// Cause is the error behind it, for logs. It may be nil.
	Cause error `json:"-"`
}

func (e *Error) Error() string { return e.Message }

// Unwrap returns the error that caused e, if any.
func (e *Error) Unwrap() error { return e.Cause }

// ErrorCode returns the code of err, or an empty code if err carries none.
func ErrorCode(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

// Invalid returns an [Error] with [CodeInvalid].
func Invalid(format string, args ...any) *Error {
	return &Error{Code: CodeInvalid, Message: fmt.Sprintf(format, args...), Fields: fieldsIn(args)}
}

// WithHint returns e with the way out added. A setting in it is a [Field].
func (e *Error) WithHint(format string, args ...any) *Error {
	return e.With(Advise(format, args...))
}

// With returns e with advice as its hint.
func (e *Error) With(a Advice) *Error {
	e.Hint = a.Text
	for _, f := range a.Fields {
		if !slices.Contains(e.Fields, f) {
			e.Fields = append(e.Fields, f)
		}
	}
	return e
}

// CodeInternal marks a failure that is nobody's fault but ours.
const CodeInternal Code = "internal"

// AsError returns err as an [Error], whatever it is.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: CodeInternal, Message: Printable(err.Error()), Cause: err}
}

// Failure is how an error is written as JSON, in the API and on standard output.
type Failure struct {
	Error *Error `json:"error"`
}
