package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

// Describe makes cmd the parent of all our commands: those of this package, and more.
func Describe(env *Env, cmd *cobra.Command, more ...*cobra.Command) {
	cmd.SetIn(env.In)
	cmd.SetOut(env.Out)
	cmd.SetErr(env.Err)
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
		env.Exit(usageErrorOf(c, describeFlagError(c, err)))
		return nil
	})
	cmd.PersistentFlags().String("admin", "", "`address` of the proxy's admin endpoint: unix//path or host:port (default: its socket, then localhost:2019 if that is root's or yours)")
	cmd.PersistentFlags().Bool("no-color", false, "print without colour")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		err := fmt.Errorf("unknown command %q", args[0])
		if similar := similarCommand(cmd, args[0]); similar != "" {
			err = fmt.Errorf("unknown command %q; did you mean %q?", args[0], similar)
		}
		env.Exit(usageErrorOf(cmd, err))
		return nil
	}
	cmd.Args = cobra.ArbitraryArgs
	cmd.AddCommand(more...)
	cmd.AddCommand(newApplyCommand(env), newEventsCommand(env), newFleetCommand(env), newHistoryCommand(env), newListCommand(env), newStatusCommand(env),
		newPauseCommand(env), newRemoveCommand(env), newResumeCommand(env), newRollbackCommand(env), newRolloutCommand(env), newStopCommand(env), newUpgradeCommand(env), newVersionCommand(env), newWaitCommand(env))
	for _, c := range cmd.Commands() {
		if c.Name() != "run" {
			wrapCommand(env, c, "PARACHUTE_")
			for _, inner := range c.Commands() {
				wrapCommand(env, inner, "PARACHUTE_")
			}
		} else {
			wrapCommand(env, c, "PARACHUTE_", "")
		}
	}
	env.nameCommands(cmd)
}

const helpTemplate = `{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}

{{end}}{{if or .Runnable .HasSubCommands}}{{.UsageString}}{{end}}
Every flag can be set by an environment variable too: --http-port is PARACHUTE_HTTP_PORT.
`

// wrapCommand gives a command what all have in common: flags from the environment
// under the given prefixes, and errors that are printed once, with the exit code
// that belongs to them.
func wrapCommand(env *Env, cmd *cobra.Command, prefixes ...string) {
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	run, args := cmd.RunE, cmd.Args
	// Cobra checks arguments before it runs anything of ours.
	cmd.Args = func(cmd *cobra.Command, given []string) error {
		if args == nil {
			return nil
		}
		if err := args(cmd, given); err != nil {
			env.Exit(usageErrorOf(cmd, err))
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := FlagsFromEnv(cmd, prefixes...); err != nil {
			env.Exit(usageErrorOf(cmd, err))
		}
		env.heed(cmd)
		if err := run(cmd, args); err != nil {
			env.Exit(nameVariables(cmd.Flags(), err))
		}
		return nil
	}
}
