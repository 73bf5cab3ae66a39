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

Exit codes: 0 done; 1 other; 2 invalid input; 3 not healthy in time, the old
release still serves; 4 another service owns the route, or a newer deploy took
over; 6 no proxy answers; 7 switched, but something had to be cut to drain the
old release; 130 interrupted.`,
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
	var flags deployFlags
	flags.register(cmd.Flags())
	output := cli.AddOutputFlag(cmd)
	quiet := cmd.Flags().BoolP("quiet", "q", false, "print errors only")
	_ = cmd.RegisterFlagCompletionFunc("service", env.CompleteServices)
	_ = cmd.RegisterFlagCompletionFunc("lb", cobra.FixedCompletions(
		[]string{string(api.LeastConn), string(api.RoundRobin)}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("tls", cobra.FixedCompletions(
		[]string{string(api.IssuerAuto), string(api.IssuerInternal)}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, targets []string) error {
		if err := cli.RefuseEmpty(cmd.Flags(), "service", "host", "path-prefix", "canonical-host",
			"tls-certificate-path", "tls-private-key-path", "tls-on-demand-url"); err != nil {
			return err
		}
		if err := flags.tls.check(cmd.Flags()); err != nil {
			return err
		}
		req := flags.request(cmd.Flags(), targets)
		if err := req.Validate(); err != nil {
			return cmp.Or(cli.RefuseStrayValues(cmd.Flags(), env.Args, req.Targets), err)
		}
		c, err := env.Client(cmd)
		if err != nil {
			return err
		}
		return deploy(c, req, cli.NewDeployPrinter(env, *output, *quiet, req))
	}
	return cmd
}

// deployFlags are the flags of deploy, one for each field of a request.
type deployFlags struct {
	req             api.DeployRequest
	tls             tlsFlags
	stripPathPrefix bool
	durations       map[string]*api.Duration
}

func (f *deployFlags) register(flags *pflag.FlagSet) {
	r := &f.req
	flags.StringVar(&r.Service, "service", "", "`name` of the service (default: the first host, or \"default\")")
	flags.StringSliceVar(&r.Hosts, "host", nil, "`hosts` to serve, such as app.example.com or *.example.com (default: all that no other service has)")
	flags.StringSliceVar(&r.PathPrefixes, "path-prefix", nil, "`paths` to serve, such as /api (default: /)")
	flags.BoolVar(&f.stripPathPrefix, "strip-path-prefix", true, "remove the path prefix before forwarding")
	flags.StringVar(&r.HealthCheckPath, "health-check-path", api.DefaultHealthCheckPath, "`path` that answers 2xx when an instance is ready")
	flags.IntVar(&r.HealthCheckPort, "health-check-port", 0, "`port` to check (default: the target's)")
	flags.StringVar(&r.HealthCheckHost, "health-check-host", "", "`host` to check with (default: the first host, or the target)")
	flags.StringVar((*string)(&r.LB), "lb", "", "`how` requests are spread over several targets: least_conn or round_robin (default: least_conn)")
	flags.BoolVar(&r.Sticky, "sticky", false, "keep a client with the target that it was with first, by a cookie")
	f.tls.register(flags)
	flags.StringVar(&r.CanonicalHost, "canonical-host", "", "`host` that clients of the other hosts are redirected to")
	flags.BoolVar(&r.Force, "force", false, "skip the health check")
	flags.BoolVar(&r.Detach, "detach", false, "return as soon as the deployment is accepted; it goes on by itself")
	f.durations = make(map[string]*api.Duration)
	for _, d := range []struct {
		name     string
		fallback api.Duration
		usage    string
	}{
		{"health-check-interval", api.DefaultHealthCheckInterval, "longest `pause` between two health checks"},
		{"health-check-timeout", api.DefaultHealthCheckTimeout, "`time` that a health check may take"},
		{"deploy-timeout", api.DefaultDeployTimeout, "`time` in which the targets have to become healthy"},
		{"drain-timeout", api.DefaultDrainTimeout, "`time` that requests to the old release have to finish"},
		{"stream-timeout", api.DefaultStreamTimeout, "`time` after which WebSockets and event streams of the old release are closed"},
		{"target-timeout", api.DefaultTargetTimeout, "`time` in which a target has to begin its answer; 0 waits for ever"},
		{"hold-timeout", api.DefaultHoldTimeout, "`time` that a request is held while no target can be reached"},
	} {
		value := d.fallback
		f.durations[d.name] = &value
		flags.Var(&value, d.name, d.usage)
	}
}

// request returns what the flags ask for. Flags that were not given are left
// out, so that defaults are decided in one place.
func (f *deployFlags) request(flags *pflag.FlagSet, targets []string) api.DeployRequest {
	r := f.req
	r.TLS, r.Targets = f.tls.request(flags, targets)
	if flags.Changed("strip-path-prefix") {
		r.StripPathPrefix = &f.stripPathPrefix
	}
	for name, to := range map[string]**api.Duration{
		"health-check-interval": &r.HealthCheckInterval,
		"health-check-timeout":  &r.HealthCheckTimeout,
		"deploy-timeout":        &r.DeployTimeout,
		"drain-timeout":         &r.DrainTimeout,
		"stream-timeout":        &r.StreamTimeout,
		"target-timeout":        &r.TargetTimeout,
		"hold-timeout":          &r.HoldTimeout,
	} {
		if flags.Changed(name) {
			*to = f.durations[name]
		}
	}
	return r
}

// deploy makes the call and shows how it goes.
func deploy(c *client.Client, req api.DeployRequest, printer cli.DeployPrinter) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	name := req.Service
	if name == "" {
		// The service is a part of the path, so the client has to know it.
		name = api.DefaultServiceName(normalizedHosts(req.Hosts))
	}
	path := api.DeployPath(name)
	if req.Detach {
		return deployDetached(ctx, c, path, req, printer)
	}
	var id string
	var result *api.DeploymentStatus
	err := c.Stream(ctx, path, req, func(ev api.Event) error {
		id, result = ev.Deployment, ev.Result
		return printer.Event(ev)
	})
	printer.End()
	switch {
	case api.ErrorCode(err) == client.CodeInterrupted:
		return interrupted(c, name, id)
	case err != nil:
		return err
	case result.Error != nil:
		return cli.Reported(cli.DescribeFailure(*result))
	}
	return printer.Result(*result)
}

// interruptedTimeout bounds how long an interrupted command takes to find out
// what has become of its deployment.
const interruptedTimeout = 3 * time.Second

// interrupted says what became of a deployment whose command was interrupted. The
// proxy alone knows: the switch may have been under way.
func interrupted(c *client.Client, name, id string) error {
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
				Message: fmt.Sprintf("interrupted after the switch; %s v%d is live", name, status.Release),
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
		Hint:    "see: parachute status " + name,
	}
}

func deployDetached(ctx context.Context, c *client.Client, path string, req api.DeployRequest, printer cli.DeployPrinter) error {
	var status api.DeploymentStatus
	if err := c.Call(ctx, http.MethodPost, path, req, &status); err != nil {
		return err
	}
	return printer.Result(status)
}

// normalizedHosts returns hosts as the proxy will name them. The request has
// been validated.
func normalizedHosts(hosts []string) []string {
	var all []string
	for _, h := range hosts {
		if n, err := api.NormalizeHost(h); err == nil {
			all = append(all, n)
		}
	}
	return all
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
