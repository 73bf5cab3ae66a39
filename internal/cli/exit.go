package cli

import (
	"encoding/json"
	"errors"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/client"
)

// Exit codes of every command but run, which has Caddy's.
const (
	exitDone         = 0
	exitOther        = 1
	exitUsage        = 2
	exitNotHealthy   = 3
	exitConflict     = 4
	exitNotFound     = 5
	exitUnreachable  = 6
	exitDrainTimeout = 7
	exitReverted     = 8
	exitUndecided    = 9
	exitWouldChange  = 10
	exitVetoed       = 11
	exitCertificate  = 12
	exitFleet        = 13
	exitGaveUp       = 124
	exitInterrupted  = 130
)

// exitCodes maps the codes of errors to exit codes. A code that is not here has exitOther.
var exitCodes = map[api.Code]int{
	api.CodeInvalid:        exitUsage,
	api.CodeNotHealthy:     exitNotHealthy,
	api.CodeRouteConflict:  exitConflict,
	api.CodeSuperseded:     exitConflict,
	api.CodeNotFound:       exitNotFound,
	api.CodeDrainTimeout:   exitDrainTimeout,
	api.CodeReverted:       exitReverted,
	api.CodeUndecided:      exitUndecided,
	api.CodeChanged:        exitConflict,
	api.CodeVetoed:         exitVetoed,
	api.CodeCertificate:    exitCertificate,
	client.CodeUnreachable: exitUnreachable,
	api.CodeFleet:          exitUnreachable,
	api.CodeFleetUnknown:   exitFleet,

	api.CodeFleetIncomplete: exitFleet,
	codeGaveUp:              exitGaveUp,
	client.CodeInterrupted:  exitInterrupted,
}

// UsageError returns err, which is about a command line, as an error with the hint
// where to look.
func UsageError(err error) error {
	return &api.Error{Code: api.CodeInvalid, Message: err.Error(), Hint: "see: parachute help"}
}

func usageErrorOf(cmd *cobra.Command, err error) error {
	if cmd.Name() == "run" {
		return FailedStart("see: "+cmd.CommandPath()+" --help", "%v", err)
	}
	return &api.Error{Code: api.CodeInvalid, Message: err.Error(), Hint: "see: " + cmd.CommandPath() + " --help"}
}

// Exit ends the process with the message and the exit code of err. It is how
// every command fails: an error returned to Caddy would be logged as JSON, and
// its exit code 1 lost.
func (e *Env) Exit(err error) {
	if err == nil {
		e.Quit(exitDone)
		return
	}
	if api.ErrorCode(err) == codeWouldChange {
		e.Quit(exitWouldChange)
		return
	}
	if failure, ok := errors.AsType[*api.Error](err); ok {
		failure.Message, failure.Hint = WithFlags(failure.Message), WithFlags(failure.Hint)
	}
	_, started := errors.AsType[startError](err)
	_, reported := errors.AsType[reportedError](err)
	if !started && !reported && wantsJSON(e.Args) {
		_ = json.NewEncoder(e.Out).Encode(api.Failure{Error: api.AsError(err)})
	}
	e.printError(err)
	e.Quit(exitCode(err))
}

// reportedError is an error that standard output has already, in what it says of the
// deployment.
type reportedError struct{ error }

func (e reportedError) Unwrap() error { return e.error }

// Reported returns err as one that [Env.Exit] does not write to standard output as JSON,
// because the command has written the outcome there, with the error in it.
func Reported(err error) error { return reportedError{err} }

func exitCode(err error) int {
	if _, ok := errors.AsType[startError](err); ok {
		return caddy.ExitCodeFailedStartup
	}
	if code, ok := exitCodes[api.ErrorCode(err)]; ok {
		return code
	}
	return exitOther
}
