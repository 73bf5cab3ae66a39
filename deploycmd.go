package parachute

import (
	"fmt"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/argv0"
	"github.com/parachute-proxy/parachute/internal/cli"
	"github.com/parachute-proxy/parachute/internal/run"
)

func newDeployCommand(env *cli.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "deploy TARGET...",
		Short: "Move a service's traffic to new instances without losing a request",
		Long: `deploy checks that every TARGET is healthy, moves all new requests of the
service to them in one step, waits until the old instances have nothing left to
do, and returns. Then the old instances can be removed.

A TARGET is host:port, http://host:port, [ipv6]:port, unix//path/to.sock,
https://host:port or h2c://host:port.

With --tls, it also gets the certificates of all hosts before the switch.

A deploy changes the settings that it mentions and keeps all others: hosts, TLS,
timeouts. --tls=false turns TLS off, --unset gives a setting its default again,
--reset gives all of them. --dry-run shows what would change. If a deploy fails
before the switch, nothing has changed.

With --watch, the old release stays ready for that time, and serves again if the new
one fails more than it may. With --canary or --steps, the new release gets a share of
the clients first; parachute rollout shows, promotes and aborts it.

Exit codes: 0 the new release serves, and the old one has nothing left to do; 1
other; 2 invalid input; 3 not healthy in time, the old release still serves; 4
another service owns the route, or a newer deploy took over; 6 no proxy answers;
7 with --fail-on-cut: the new release serves, but something had to be cut to
drain the old one; 8 the new release was taken back, the old one serves; 9 the
rollout waits for a decision, both serve; 10 with --dry-run: something would change; 11 refused by
--before-switch, 12 no certificate: the old release still serves; 130
interrupted.`,
		Example: `  parachute deploy web-1:3000
  parachute deploy web-2:3000 --host app1.example.com --tls
  parachute deploy web-3:3000 --host app1.example.com --watch 2m
  parachute deploy web-3:3000 --host app1.example.com --compress --hsts \
      --header 'X-Frame-Options: DENY' --basic-auth-file people
  parachute deploy api-1:8080 api-2:8080 --service api --host example.com --path-prefix /api`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("deploy needs at least one target, as in: parachute deploy web-1:3000")
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cli.AddDeploy(env, cmd)
	return cmd
}

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
				cli.Describe(env, cmd, run.Command(thisProcess), newDeployCommand(env), newImportCommand(env))
				return
			}
			if program == argv0.KamalProxy {
				runAsKamalProxy(env, cmd)
				return
			}
			// Caddy's command line cannot be replaced, only added to. So our own name
			// becomes the first argument, which leads Caddy to this command, and that
			// hands everything behind it to a command line of ours.
			argv0.Replace(append([]string{"parachute"}, args...)...)
			cmd.DisableFlagParsing = true
			cmd.RunE = func(*cobra.Command, []string) error {
				root := &cobra.Command{Use: "parachute"}
				cli.Describe(env, root, run.Command(thisProcess), newDeployCommand(env), newImportCommand(env), cli.NewCaddyCommand(), cli.NewManPagesCommand())
				root.SetArgs(args)
				if err := root.Execute(); err != nil {
					env.Exit(cli.UsageError(err))
				}
				return nil
			}
		},
	}
}
