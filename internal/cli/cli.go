package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

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
	exitInterrupted  = 130
)

// exitCodes maps the engine's errors to exit codes.
var exitCodes = map[api.Code]int{
	api.CodeInvalid:        exitUsage,
	api.CodeNotHealthy:     exitNotHealthy,
	api.CodeRouteConflict:  exitConflict,
	api.CodeSuperseded:     exitConflict,
	api.CodeNotFound:       exitNotFound,
	api.CodeDrainTimeout:   exitDrainTimeout,
	client.CodeUnreachable: exitUnreachable,
	client.CodeInterrupted: exitInterrupted,
}

// Describe makes cmd the parent of all our commands: those of this package, and more.
func Describe(cmd *cobra.Command, more ...*cobra.Command) {
	cmd.Short = "A proxy that deploys web applications without losing a request"
	cmd.Long = `parachute runs in front of web applications and moves traffic from one
instance to the next without losing a request.

Start the proxy, then deploy instances of an application to it:

  parachute run
  parachute deploy web-1:3000 --host app1.example.com

Each deploy waits until the new instance is healthy, moves all new requests to
it in one step, and waits until the old instance has nothing left to do. When it
has returned, the old instance can be removed.`
	cmd.Version = RunningVersions().String()
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetVersionTemplate("{{.Version}}\n")
	cmd.SetHelpTemplate(helpTemplate)
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		Exit(usageErrorOf(c, describeFlagError(c, err)))
		return nil
	})
	cmd.PersistentFlags().String("admin", "", "`address` of the proxy's admin endpoint: unix//path or host:port (default: its socket, then localhost:2019)")
	cmd.PersistentFlags().Bool("no-color", false, "print without colour")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		err := fmt.Errorf("unknown command %q", args[0])
		cmd.SuggestionsMinimumDistance = 2
		if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
			err = fmt.Errorf("unknown command %q; did you mean %q?", args[0], similar[0])
		}
		Exit(usageErrorOf(cmd, err))
		return nil
	}
	cmd.Args = cobra.ArbitraryArgs
	cmd.AddCommand(more...)
	cmd.AddCommand(newListCommand(), newStatusCommand(), newRemoveCommand(), newVersionCommand())
	for _, c := range cmd.Commands() {
		if c.Name() != "run" {
			wrapCommand(c, "PARACHUTE_")
		} else {
			wrapCommand(c, "PARACHUTE_", "")
		}
	}
}

const helpTemplate = `{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}

{{end}}{{if or .Runnable .HasSubCommands}}{{.UsageString}}{{end}}
Every flag can be set by an environment variable too: --http-port is PARACHUTE_HTTP_PORT.
`

// wrapCommand gives a command what all have in common: flags from the environment
// under the given prefixes, and errors that are printed once, with the exit code
// that belongs to them.
func wrapCommand(cmd *cobra.Command, prefixes ...string) {
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	run, args := cmd.RunE, cmd.Args
	// Cobra checks arguments before it runs anything of ours.
	cmd.Args = func(cmd *cobra.Command, given []string) error {
		if args == nil {
			return nil
		}
		if err := args(cmd, given); err != nil {
			Exit(usageErrorOf(cmd, err))
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := FlagsFromEnv(cmd, prefixes...); err != nil {
			Exit(usageErrorOf(cmd, err))
		}
		if err := run(cmd, args); err != nil {
			Exit(err)
		}
		return nil
	}
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
func Exit(err error) {
	if err == nil {
		os.Exit(exitDone)
	}
	_, started := errors.AsType[startError](err)
	_, reported := errors.AsType[reportedError](err)
	if !started && !reported && wantsJSON(os.Args[1:]) {
		_ = json.NewEncoder(os.Stdout).Encode(api.Failure{Error: api.AsError(err)})
	}
	printError(os.Stderr, err)
	os.Exit(exitCode(err))
}

// reportedError is an error that standard output has already, in what it says of the
// deployment.
type reportedError struct{ error }

func (e reportedError) Unwrap() error { return e.error }

// Reported returns err as one that [Exit] does not write to standard output as JSON,
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

// ClientFor returns a client of the proxy that --admin names, or of the one that runs in
// the default place.
func ClientFor(cmd *cobra.Command) (*client.Client, error) {
	given, _ := cmd.Flags().GetString("admin")
	return client.New(given)
}
