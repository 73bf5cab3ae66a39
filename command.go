package parachute

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/argv0"
	"github.com/parachute-proxy/parachute/internal/cli"
	"github.com/parachute-proxy/parachute/internal/run"
)

// rootCommand is what Caddy's command line knows of ours. Caddy calls it when it puts its
// command line together, right before it reads the arguments.
func rootCommand() caddycmd.Command {
	return caddycmd.Command{
		Name:  "parachute",
		Short: "Proxies web applications and deploys them without downtime",
		CobraFunc: func(cmd *cobra.Command) {
			program, args := argv0.Called()
			env := cli.NewEnv(program, args)
			if program == argv0.Caddy {
				argv0.Replace(args...)
				cli.Describe(env, cmd, run.Command())
				return
			}
			// Caddy's command line cannot be replaced, only added to. So our own name
			// becomes the first argument, which leads Caddy to this command, and that
			// hands everything behind it to a command line of ours.
			argv0.Replace(append([]string{"parachute"}, args...)...)
			cmd.DisableFlagParsing = true
			cmd.RunE = func(*cobra.Command, []string) error {
				root := &cobra.Command{Use: "parachute"}
				cli.Describe(env, root, run.Command(), cli.NewCaddyCommand(), cli.NewManPagesCommand())
				root.SetArgs(args)
				if err := root.Execute(); err != nil {
					env.Exit(cli.UsageError(err))
				}
				return nil
			}
		},
	}
}
