package run

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/cli"
	"github.com/parachute-proxy/parachute/internal/front"
	"github.com/parachute-proxy/parachute/internal/handoff"
	"github.com/parachute-proxy/parachute/internal/version"
)

// DefaultGracePeriod is the time that requests and streams have to end when the proxy
// stops. It leaves a container runtime, which kills after 10s by default, nothing to
// kill when streams alone are open.
const DefaultGracePeriod = 10 * time.Second

// Command returns the command `parachute run`. It ends the process when it starts the
// proxy, and returns an error for [cli.Exit] when it cannot.
func Command(plugin Plugin) *cobra.Command { return new(options).command(plugin) }

// command returns the command that sets o and runs it.
func (o *options) command(plugin Plugin) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the proxy in the foreground",
		Long: `run starts the proxy. It serves HTTP and HTTPS for every service that is
deployed to it. After a restart it serves again what it served before.

It needs no configuration file. With --config it serves the sites of a Caddyfile
or JSON file as well, on the same ports. A host that has a site in that file belongs
to the site, and a deploy for it is refused. SIGUSR1 reloads the file without
touching services. A Caddyfile must be named Caddyfile or *.caddyfile; files with
other names are read as JSON.

Every flag can be an environment variable: --http-port is PARACHUTE_HTTP_PORT.
HTTP_PORT, HTTPS_PORT and DEBUG are read without the prefix as well.

SIGTERM and SIGINT stop it: requests finish and streams are closed politely
within the grace period.

Exit codes are Caddy's: 0 stopped; 1 failed to start; 2 forced to quit; 3 failed
to stop cleanly.`,
		Example: `  parachute run
  parachute run --http-port 8080 --https-port 8443
  parachute run --trusted-proxies 10.0.0.0/8 --metrics-port 9090`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	o.register(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o.admin, _ = cmd.Flags().GetString("admin")
		o.httpsPortGiven = cmd.Flags().Changed("https-port") || !cmd.Flags().Changed("http-port")
		return run(cmd.ErrOrStderr(), *o, plugin)
	}
	return cmd
}

// run starts the proxy, and warns on w. It returns only if that fails.
func run(w io.Writer, o options, plugin Plugin) (err error) {
	invalid := o.validate()
	if invalid != nil && os.Getenv(TakeoverVariable) == "" {
		return cli.FailedStart("see: parachute run --help", "%v", invalid)
	}
	takeover, err := o.takeOver(plugin)
	if err != nil {
		return err
	}
	if takeover != nil {
		defer func() { takeover.Fail(err) }() // so that whoever asked for the upgrade is told
	}
	if invalid != nil {
		return cli.FailedStart("see: parachute run --help", "%v", invalid)
	}
	lock := inheritLock(takeover)
	inherited := managerSockets()
	if takeover != nil {
		inherited = takeover.Sockets
	}
	if err := o.checkPorts(w, inherited); err != nil {
		return err
	}
	if takeover == nil {
		if err := o.prepareAdminSocket(); err != nil {
			return err
		}
	}
	if lock == nil {
		if lock, err = o.lockStorage(); err != nil {
			return err
		}
	}
	defer lock.Close()
	restored := false
	if o.compat != nil {
		if restored, err = o.compat.prepare(o.storageDir(), takeover != nil); err != nil {
			return cli.AsFailedStart(err)
		}
	}

	handover, cannot := o.handoverListener(takeover)
	if inherited != nil {
		var secrets []byte
		if takeover != nil {
			secrets = takeover.Secrets
		}
		if err := front.Inherit(inherited, secrets); err != nil {
			return cli.AsFailedStart(err)
		}
	}
	front.ServeHTTP3()
	paceGC()
	leftBehind := o.leftBehind()
	caddy.TrapSignals()
	config, err := o.buildConfig()
	if err != nil {
		return cli.AsFailedStart(err)
	}
	if o.configFile != "" {
		// What SIGUSR1 does.
		caddy.SetLastConfig(o.configFile, "", func(string, string) error {
			if !plugin.Leads() {
				// It could open ports, of which it would accept nothing.
				return errors.New("another process has taken over; that one is to be told to reload")
			}
			config, err := o.buildConfig()
			if err != nil {
				return err
			}
			return caddy.Load(config, true)
		})
	}
	if err := caddy.Load(config, true); err != nil {
		stderrLines.flush()
		return cli.FailedStart("", "starting the proxy: %v", err)
	}
	unused := front.Unused()
	if takeover == nil {
		front.Open()
	} else {
		if err := o.succeed(takeover, plugin); err != nil {
			return cli.FailedStart("", "taking over: %v", err)
		}
	}
	storeSockets(unused)
	if cannot == nil {
		plugin.HandOver(handover, []handoff.Socket{{Name: lockName, Conn: lock}}, o.adminListener(), time.Duration(o.linger))
	} else {
		caddy.Log().Named("parachute").Warn("this process cannot hand over to a next one, so an upgrade has to be a restart", zap.Error(cannot))
	}
	if leftBehind != "" {
		caddy.Log().Named("parachute").Warn("the services that this proxy has had by itself are not part of its fleet; to bring them along, start it with this directory as --fleet-dir",
			zap.String("storage", leftBehind))
	}
	caddy.Log().Named("parachute").Info("ready",
		zap.String("version", version.Version()), zap.Int("http_port", o.httpPort), zap.Int("https_port", o.httpsPort),
		zap.String("admin", o.adminListener().String()))
	if o.compat != nil && o.compat.Greet != nil {
		o.compat.Greet(caddy.Log(), restored, o.httpPort, o.httpsPort)
	}
	select {} // the signal handlers end the process
}
