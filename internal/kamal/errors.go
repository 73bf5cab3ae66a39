package kamal

import (
	"errors"
	"fmt"
	"strings"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/cli"
)

// worded is an error that begins as kamal-proxy says it: people look for these words.
type worded struct {
	text  string
	cause error
}

func (e worded) Error() string { return e.text }

// Unwrap returns the cause.
func (e worded) Unwrap() error { return e.cause }

// errServiceNotFound is that of kamal-proxy.
var errServiceNotFound = errors.New("service not found")

// ofService returns err in kamal-proxy's words, as one of a call for a service.
func ofService(err error) error {
	if api.ErrorCode(err) == api.CodeNotFound {
		return errServiceNotFound
	}
	return err
}

// ofDeploy returns the error of a deployment in kamal-proxy's words.
func (d *deployment) ofDeploy(err error) error {
	failure, ok := errors.AsType[*api.Error](err)
	if !ok {
		return err
	}
	text := ""
	switch {
	case failure.Code == api.CodeNotHealthy:
		text = fmt.Sprintf("target failed to become healthy within configured timeout (%s)", d.deployTimeout)
	case failure.Code == api.CodeRouteConflict:
		text = "host settings conflict with another service"
	case d.certificatePath != "" && (strings.Contains(failure.Message, d.certificatePath) || strings.Contains(failure.Message, d.keyPath)):
		text = "unable to load certificate"
	case d.errorPages != "" && strings.Contains(failure.Message, d.errorPages):
		text = "unable to load error pages"
	default:
		return err
	}
	return worded{text, err}
}

// describe returns an error in one line.
func describe(err error) string {
	text := err.Error()
	failure, ok := errors.AsType[*api.Error](err)
	if !ok {
		return text
	}
	if w, ok := errors.AsType[worded](err); ok {
		text = w.text + ": " + failure.Message
	} else {
		text = failure.Message
	}
	switch {
	case failure.Code == api.CodeRouteConflict: // whose hint names options that kamal-proxy has not
		text += " (to give the host to this one, remove the other one: kamal-proxy remove SERVICE)"
	case failure.Hint != "":
		text += " (" + failure.Hint + ")"
	}
	return strings.ReplaceAll(cli.WithFlags(text), "\n", " ")
}
