package parachute

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/cli"
	"github.com/parachute-proxy/parachute/internal/client"
	"github.com/parachute-proxy/parachute/internal/version"
)

// defaultGracePeriod is the time that requests and streams have to end when the proxy
// stops. It leaves a container runtime, which kills after 10s by default, nothing to
// kill when streams alone are open.
const defaultGracePeriod = 10 * time.Second

// runOptions are the flags of run.
type runOptions struct {
	httpPort       int
	httpsPort      int
	httpsPortGiven bool
	metricsPort    int
	bind           string
	admin          string
	storage        string
	trustedProxies []string
	acmeCA         string
	acmeCARoot     string
	acmeEmail      string
	acmeEABKeyID   string
	acmeEABMACKey  string
	acmeDNS        string
	tlsStaging     bool
	minTLS         string
	accessLog      bool
	debug          bool
	configFile     string
	gracePeriod    api.Duration
	clientTimeout  api.Duration
}

func newRunCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the proxy in the foreground",
		Long: `run starts the proxy. It serves HTTP and HTTPS for every service that is
deployed to it. After a restart it serves again what it served before.

It needs no configuration file. With --config it serves the sites of a Caddyfile
or JSON file as well, on the same ports; a host that has a site there is that
site's. SIGUSR1 reloads the file without touching services. A Caddyfile has to be
named Caddyfile or *.caddyfile; files with other names are read as JSON.

Every flag is an environment variable, too: --http-port is PARACHUTE_HTTP_PORT
or, for this command, HTTP_PORT.

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
		return run(o)
	}
	return cmd
}

// runConfig returns the Caddy config that run starts the proxy with when it is given
// args, as JSON. Every flag has its effect but those for the process itself.
func runConfig(args ...string) ([]byte, error) {
	var o runOptions
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	o.register(flags)
	flags.StringVar(&o.admin, "admin", "", "")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	return o.buildConfig()
}

func (o *runOptions) register(flags *pflag.FlagSet) {
	flags.IntVar(&o.httpPort, "http-port", 80, "`port` to serve HTTP on; 0 serves none")
	flags.IntVar(&o.httpsPort, "https-port", 443, "`port` to serve HTTPS on, over TCP and QUIC; 0 serves none")
	flags.IntVar(&o.metricsPort, "metrics-port", 0, "`port` to serve Prometheus metrics on, at /metrics; 0 serves none")
	flags.StringVar(&o.bind, "bind", "", "`address` to listen on (default: all)")
	flags.StringVar(&o.storage, "storage", "", "`directory` for state and certificates (default: Caddy's data directory)")
	flags.StringSliceVar(&o.trustedProxies, "trusted-proxies", nil, "`CIDRs` of proxies whose X-Forwarded headers are believed (default: none)")
	flags.StringVar(&o.acmeCA, "acme-ca", "", "`URL` of the ACME directory that issues certificates (default: Let's Encrypt, then ZeroSSL if there is an --acme-email)")
	flags.StringVar(&o.acmeCARoot, "acme-ca-root", "", "PEM `file` with the root certificate of the ACME server itself")
	flags.StringVar(&o.acmeEmail, "acme-email", "", "`address` for the ACME account")
	flags.StringVar(&o.acmeEABKeyID, "acme-eab-key-id", "", "`id` of an account that exists at the ACME server (external account binding)")
	flags.StringVar(&o.acmeEABMACKey, "acme-eab-mac-key", "", "`key` of that account, in base64url; better given as ACME_EAB_MAC_KEY")
	flags.StringVar(&o.acmeDNS, "acme-dns", "", "DNS `provider` to prove the control of domains with, which wildcards need, and its settings, such as 'cloudflare {env.CF_API_TOKEN}'")
	flags.BoolVar(&o.tlsStaging, "tls-staging", false, "get certificates from Let's Encrypt's staging environment: no rate limits, but nobody trusts them")
	flags.StringVar(&o.minTLS, "min-tls", "1.2", "oldest `version` of TLS that clients may use: 1.2 or 1.3")
	flags.BoolVar(&o.accessLog, "access-log", false, "log every request")
	flags.BoolVar(&o.debug, "debug", false, "log in detail")
	flags.StringVar(&o.configFile, "config", "", "Caddyfile or Caddy JSON `file` with sites of your own")
	o.gracePeriod, o.clientTimeout = api.Duration(defaultGracePeriod), api.Duration(time.Minute)
	flags.Var(&o.clientTimeout, "client-timeout", "`time` that a client may stall while it sends a request body or takes an answer")
	flags.Var(&o.gracePeriod, "grace-period", "`time` that requests and streams have to end when the proxy stops")
}

// run starts the proxy. It returns only if that fails.
func run(o runOptions) error {
	if err := o.validate(); err != nil {
		return cli.FailedStart("see: parachute run --help", "%v", err)
	}
	if err := o.checkPorts(); err != nil {
		return err
	}
	if err := o.prepareAdminSocket(); err != nil {
		return err
	}
	unlock, err := o.lockStorage()
	if err != nil {
		return err
	}
	defer unlock()

	paceGC()
	caddy.TrapSignals()
	config, err := o.buildConfig()
	if err != nil {
		return cli.AsFailedStart(err)
	}
	if o.configFile != "" {
		// What SIGUSR1 does.
		caddy.SetLastConfig(o.configFile, "", func(string, string) error {
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
	caddy.Log().Named("parachute").Info("ready",
		zap.String("version", version.Version()), zap.Int("http_port", o.httpPort), zap.Int("https_port", o.httpsPort),
		zap.String("admin", o.adminListener().String()))
	select {} // the signal handlers end the process
}

func (o *runOptions) validate() error {
	for name, port := range map[string]int{"http-port": o.httpPort, "https-port": o.httpsPort, "metrics-port": o.metricsPort} {
		if port < 0 || port > 65535 {
			return fmt.Errorf("--%s %d is not a port; a port is a number from 1 to 65535", name, port)
		}
	}
	if o.httpPort == 0 && o.httpsPort == 0 {
		return errors.New("--http-port and --https-port are both 0: there is nothing to serve on")
	}
	seen := make(map[int]bool)
	for _, port := range []int{o.httpPort, o.httpsPort, o.metricsPort} {
		if port != 0 && seen[port] {
			return fmt.Errorf("port %d is given twice", port)
		}
		seen[port] = true
	}
	if o.bind != "" && net.ParseIP(o.bind) == nil {
		return fmt.Errorf("--bind %q is not an IP address", o.bind)
	}
	for _, cidr := range o.trustedProxies {
		if _, _, err := net.ParseCIDR(cidr); err != nil && net.ParseIP(cidr) == nil {
			return fmt.Errorf("--trusted-proxies %q is neither an IP address nor a CIDR, such as 10.0.0.0/8", cidr)
		}
	}
	for name, d := range map[string]api.Duration{"grace-period": o.gracePeriod, "client-timeout": o.clientTimeout} {
		if d < api.Duration(100*time.Millisecond) || d > api.Duration(24*time.Hour) {
			return fmt.Errorf("--%s %s is out of bounds; it has to be from 100ms to 24h", name, d)
		}
	}
	if o.minTLS != "1.2" && o.minTLS != "1.3" {
		return fmt.Errorf("--min-tls %q is neither 1.2 nor 1.3", o.minTLS)
	}
	if err := o.validateACME(); err != nil {
		return err
	}
	return o.validateAdmin()
}

func (o *runOptions) validateACME() error {
	if o.acmeCARoot != "" {
		if _, err := os.Stat(o.acmeCARoot); err != nil {
			return fmt.Errorf("--acme-ca-root: %w", err)
		}
	}
	if o.tlsStaging && o.acmeCA != "" {
		return errors.New("--tls-staging and --acme-ca name two authorities; leave one of them out")
	}
	if (o.acmeEABKeyID == "") != (o.acmeEABMACKey == "") {
		return errors.New("--acme-eab-key-id and --acme-eab-mac-key belong together; give both")
	}
	_, err := o.dnsProvider()
	return err
}

// validateAdmin refuses to put the control of the proxy on the network: whoever
// reaches the endpoint may do anything.
func (o *runOptions) validateAdmin() error {
	if o.admin == "" {
		return nil
	}
	a, err := client.ParseAdminAddress(o.admin)
	if err != nil {
		return err
	}
	if a.Network == "unix" {
		if len(a.Address) > 103 {
			return fmt.Errorf("--admin: the socket path is longer than the 103 bytes that systems allow")
		}
		return nil
	}
	host, _, _ := net.SplitHostPort(a.Address)
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("--admin %s would let everyone who reaches it control the proxy; use a unix socket or a loopback address", o.admin)
	}
	return nil
}

func (o *runOptions) adminListener() client.Address {
	if o.admin == "" {
		return client.DefaultAdminSocket()
	}
	a, _ := client.ParseAdminAddress(o.admin) // validated
	return a
}

// prepareAdminSocket makes the directory of the socket and refuses to start when
// another proxy listens there: Caddy would take the socket away from it. A socket
// that nobody listens on is what a killed proxy leaves behind; Caddy replaces it.
func (o *runOptions) prepareAdminSocket() error {
	a := o.adminListener()
	conn, err := net.DialTimeout(a.Network, a.Address, time.Second)
	if err == nil {
		conn.Close()
		return cli.FailedStart("stop it, or give this one an endpoint of its own with --admin",
			"another proxy is running: it listens on the admin endpoint %s", a)
	}
	if a.Network == "tcp" {
		return nil
	}
	if info, err := os.Lstat(a.Address); err == nil && info.Mode().Type() != fs.ModeSocket {
		return cli.FailedStart("move it away, or choose another path with --admin", "%s is in the way: it is not a socket", a.Address)
	}
	dir := filepath.Dir(a.Address)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return cli.FailedStart("choose another path with --admin", "making the directory of the admin socket: %v", err)
	}
	if o.admin == "" {
		return cli.AsFailedStart(client.CheckPrivate(dir))
	}
	return nil
}

// lockStorage keeps a second proxy away from the state of the first.
func (o *runOptions) lockStorage() (unlock func(), err error) {
	if !filepath.IsAbs(o.storageDir()) && o.storage == "" {
		return nil, cli.FailedStart("name a directory with --storage, such as /var/lib/parachute",
			"there is no place for the state: neither HOME nor XDG_DATA_HOME is set")
	}
	dir := filepath.Join(o.storageDir(), "parachute")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		if failed, ok := errors.AsType[*fs.PathError](err); ok && errors.Is(err, syscall.ENOTDIR) {
			return nil, cli.FailedStart("name a directory with --storage, such as /var/lib/parachute",
				"the storage cannot be %s: %s is not a directory", o.storageDir(), failed.Path)
		}
		return nil, cli.FailedStart("make it writable for this user, or choose another with --storage", "making the storage directory: %v", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, cli.FailedStart("make it writable for this user, or choose another with --storage", "opening the storage directory: %v", err)
	}
	locked, err := tryLock(f)
	switch {
	case err != nil:
		f.Close()
		return nil, cli.FailedStart("", "locking the storage %s: %v", o.storageDir(), err)
	case !locked:
		f.Close()
		return nil, cli.FailedStart("stop it, or give this one a storage of its own with --storage",
			"another proxy is running with the storage %s", o.storageDir())
	}
	return func() { f.Close() }, nil
}

func (o *runOptions) storageDir() string {
	if o.storage != "" {
		return o.storage
	}
	return caddy.AppDataDir()
}
