package cli

import (
	"errors"
	"fmt"

	"github.com/parachute-proxy/parachute/internal/api"
)

// startError is a failure to start, which has the exit code that Caddy gives it.
type startError struct{ cause *api.Error }

func (e startError) Error() string { return e.cause.Error() }

func (e startError) Unwrap() error { return e.cause }

// FailedStart returns a failure of `parachute run` to start, with the way out as its hint,
// which may be empty. [Env.Exit] gives it the exit code that Caddy has for it.
func FailedStart(hint, format string, args ...any) error {
	return startError{&api.Error{Code: api.CodeInternal, Message: fmt.Sprintf(format, args...), Hint: hint}}
}

// AsFailedStart returns err, which may be nil, as a failure to start, with the hint that
// it may have.
func AsFailedStart(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[startError](err); ok {
		return err
	}
	if e, ok := err.(*api.Error); ok {
		return startError{e}
	}
	return FailedStart("", "%v", err)
}
