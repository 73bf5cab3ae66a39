package parachute

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/argv0"
	"github.com/parachute-proxy/parachute/internal/cli"
	"github.com/parachute-proxy/parachute/internal/client"
	"github.com/parachute-proxy/parachute/internal/run"
)

func newDeployCommand(env *cli.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "deploy TARGET...",
		Short: "Move a service's traffic to new instances without losing a request",
		Long: `deploy checks that every TARGET is healthy, moves all new requests of the
service to them in one step, waits until the old instances have nothing left to
do, and returns. From then on the old instances can be removed.

A TARGET is host:port, http://host:port, [ipv6]:port, unix//path/to.sock,
https://host:port or h2c://host:port.

With --tls, the certificates of all hosts are there before the switch, too.

What a deploy does not say has its default, not the value it had before. If a
deploy fails before the switch, nothing has changed.

Exit codes: 0 the new release serves, and the old one holds nothing any more; 1
other; 2 invalid input; 3 not healthy in time, the old release still serves; 4
another service owns the route, or a newer deploy took over; 6 no proxy answers;
7 with --fail-on-cut: the new release serves, but something had to be cut to
drain the old one; 12 no certificate, the old release still serves; 130
interrupted.`,
		Example: `  parachute deploy web-1:3000
  parachute deploy web-2:3000 --host app1.example.com --tls
  parachute deploy api-1:8080 api-2:8080 --service api --host example.com --path-prefix /api`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("deploy needs at least one target, as in: parachute deploy web-1:3000")
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	addDeployFlags(cmd)
	output := cli.AddOutputFlag(cmd)
	quiet := cmd.Flags().BoolP("quiet", "q", false, "print errors only")
	_ = cmd.RegisterFlagCompletionFunc("service", env.CompleteServices)
	cmd.RunE = func(cmd *cobra.Command, targets []string) error {
		req, err := deployRequest(cmd.Flags(), targets)
		if err != nil {
			return err
		}
		if err := req.Validate(); err != nil {
			return cmp.Or(cli.RefuseStrayValues(cmd.Flags(), env.Args, req.Targets), err)
		}
		c, err := env.Client(cmd)
		if err != nil {
			return err
		}
		return deploy(env, c, req, cli.NewDeployPrinter(env, *output, *quiet, req))
	}
	return cmd
}

// addDeployFlags gives cmd a flag for each setting of a deploy.
func addDeployFlags(cmd *cobra.Command) {
	cli.AddSettingFlags(cmd)
	cmd.Flags().Lookup("tls").NoOptDefVal = string(api.IssuerAuto)
}

// deployRequest returns what the flags ask for. Flags that were not given are left out,
// so that defaults are decided in one place.
func deployRequest(flags *pflag.FlagSet, targets []string) (api.DeployRequest, error) {
	if err := cli.RefuseEmptySettings(flags); err != nil {
		return api.DeployRequest{}, err
	}
	if err := checkTLSFlags(flags); err != nil {
		return api.DeployRequest{}, err
	}
	req := cli.SettingsOf(flags)
	req.TLS, req.Targets = tlsRequest(flags, targets)
	return req, nil
}

// deploy makes the call and shows how it goes.
func deploy(env *cli.Env, c *client.Client, req api.DeployRequest, printer cli.DeployPrinter) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if req.Detach {
		return deployDetached(ctx, c, req, printer)
	}
	var id string
	var result *api.DeploymentStatus
	err := c.Stream(ctx, api.PathDeployments, req, func(ev api.Event) error {
		id, result = ev.Deployment, ev.Result
		return printer.Event(ev)
	})
	printer.End()
	switch {
	case api.ErrorCode(err) == client.CodeInterrupted:
		return interrupted(c, id)
	case err != nil:
		return err
	case result.Error != nil:
		return cli.Reported(cli.DescribeFailure(*result))
	}
	env.WarnOfCut(cli.OutcomeOf(*result), result.Cut)
	return printer.Result(*result)
}

// interruptedTimeout bounds how long an interrupted command takes to find out
// what has become of its deployment.
const interruptedTimeout = 3 * time.Second

// interrupted says what became of a deployment whose command was interrupted. The
// proxy alone knows: the switch may have been under way.
func interrupted(c *client.Client, id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), interruptedTimeout)
	defer cancel()
	for id != "" {
		var status api.DeploymentStatus
		if err := c.Call(ctx, http.MethodGet, api.DeploymentPath(id), nil, &status); err != nil {
			break
		}
		switch {
		case status.Release > 0:
			return &api.Error{
				Code:    client.CodeInterrupted,
				Message: fmt.Sprintf("interrupted after the switch; %s v%d is live", status.Service, status.Release),
				Hint:    "the old release may still be draining; wait for it with: parachute wait " + id,
			}
		case status.State.Final():
			return &api.Error{Code: client.CodeInterrupted, Message: "interrupted before the switch; nothing has changed"}
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return &api.Error{
		Code:    client.CodeInterrupted,
		Message: "interrupted; whether it has switched is not known",
		Hint:    "see: parachute status",
	}
}

func deployDetached(ctx context.Context, c *client.Client, req api.DeployRequest, printer cli.DeployPrinter) error {
	var status api.DeploymentStatus
	if err := c.Call(ctx, http.MethodPost, api.PathDeployments, req, &status); err != nil {
		return err
	}
	return printer.Result(status)
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
				cli.Describe(env, cmd, run.Command(), newDeployCommand(env))
				return
			}
			// Caddy's command line cannot be replaced, only added to. So our own name
			// becomes the first argument, which leads Caddy to this command, and that
			// hands everything behind it to a command line of ours.
			argv0.Replace(append([]string{"parachute"}, args...)...)
			cmd.DisableFlagParsing = true
			cmd.RunE = func(*cobra.Command, []string) error {
				root := &cobra.Command{Use: "parachute"}
				cli.Describe(env, root, run.Command(), newDeployCommand(env), cli.NewCaddyCommand(), cli.NewManPagesCommand())
				root.SetArgs(args)
				if err := root.Execute(); err != nil {
					env.Exit(cli.UsageError(err))
				}
				return nil
			}
		},
	}
}
