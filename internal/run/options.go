package run

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/spool"
)

// options are the flags of run.
type options struct {
	httpPort       int
	httpsPort      int
	httpsPortGiven bool
	publicHTTPS    int
	metricsPort    int
	bind           string
	admin          string
	storage        string
	trustedProxies []string
	beforeSwitch   string
	webhooks       []string
	webhookSecret  string
	allowHandlers  string
	bufferDir      string
	bufferDisk     api.Size
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
	shutdownDelay  api.Duration
	pingPath       string
	clientTimeout  api.Duration
	maxHeaderSize  api.Size
	dropOddNames   bool
	edge           string
	allowSiteHosts bool
	fleet          string
	fleetName      string
	fleetDir       string
	fleetMissing   api.Duration
	fleetServer    string
	fleetSecret    string
	takeover       bool
	linger         api.Duration
	// compat is nil for `parachute run`.
	compat *Compat
}

func (o *options) register(flags *pflag.FlagSet) {
	flags.IntVar(&o.httpPort, "http-port", 80, "`port` to serve HTTP on; 0 serves none")
	flags.IntVar(&o.httpsPort, "https-port", 443, "`port` to serve HTTPS on, over TCP and QUIC; 0 serves none")
	flags.IntVar(&o.publicHTTPS, "public-https-port", 0, "`port` that clients reach HTTPS on, where something forwards it to --https-port (default: 443 for requests without a port)")
	flags.IntVar(&o.metricsPort, "metrics-port", 0, "`port` to serve Prometheus metrics on, at /metrics; 0 serves none")
	flags.StringVar(&o.bind, "bind", "", "`address` to listen on (default: all)")
	flags.StringVar(&o.storage, "storage", "", "`directory` for state and certificates (default: Caddy's data directory)")
	flags.StringSliceVar(&o.trustedProxies, "trusted-proxies", nil, "`CIDRs` of proxies whose X-Forwarded headers are trusted (default: none)")
	flags.StringVar(&o.acmeCA, "acme-ca", "", "`URL` of the ACME directory that issues certificates (default: Let's Encrypt, then ZeroSSL if there is an --acme-email)")
	flags.StringVar(&o.acmeCARoot, "acme-ca-root", "", "PEM `file` with the root certificate of the ACME server itself")
	flags.StringVar(&o.beforeSwitch, "before-switch", "", "`URL` that is asked before every switch of a deployment whether it may happen (default: none)")
	flags.StringSliceVar(&o.webhooks, "webhook", nil, "`URLs` that are told of what happens to services (default: none)")
	flags.StringVar(&o.webhookSecret, "webhook-secret-file", "", "`file` with the secrets that webhooks are signed with, each on a line as whsec_ and base64")
	flags.StringVar(&o.allowHandlers, "allow-handlers", "safe", "which of Caddy's `handlers` services may bring along with deploy --with: none, safe, which reach nothing but the request and its answer, or all")
	flags.StringVar(&o.bufferDir, "buffer-dir", "", "`directory` for temporary files with bodies that are buffered (default: the system's for temporary files)")
	o.bufferDisk = api.Size(spool.DefaultMaxDisk)
	flags.Var(&o.bufferDisk, "buffer-disk", "`size` that those files may take in all")
	flags.StringVar(&o.acmeEmail, "acme-email", "", "`address` for the ACME account")
	flags.StringVar(&o.acmeEABKeyID, "acme-eab-key-id", "", "`id` of an account that exists at the ACME server (external account binding)")
	flags.StringVar(&o.acmeEABMACKey, "acme-eab-mac-key", "", "`key` of that account, in base64url; better given as PARACHUTE_ACME_EAB_MAC_KEY")
	flags.StringVar(&o.acmeDNS, "acme-dns", "", "DNS `provider` with its settings, to prove control of domains, which wildcards need, such as 'cloudflare {env.CF_API_TOKEN}'")
	flags.BoolVar(&o.tlsStaging, "tls-staging", false, "get certificates from Let's Encrypt's staging environment: its limits are higher, but browsers do not trust them")
	flags.StringVar(&o.minTLS, "min-tls", "1.2", "oldest `version` of TLS that clients may use: 1.2 or 1.3")
	flags.BoolVar(&o.accessLog, "access-log", false, "log every request")
	flags.BoolVar(&o.debug, "debug", false, "log in detail")
	flags.StringVar(&o.configFile, "config", "", "Caddyfile or Caddy JSON `file` with sites of your own")
	flags.BoolVar(&o.allowSiteHosts, "allow-site-hosts", false, "only log a warning when a host is deployed that a site of --config has, and so gets no requests")
	o.gracePeriod, o.clientTimeout = api.Duration(DefaultGracePeriod), api.Duration(time.Minute)
	flags.Var(&o.clientTimeout, "client-timeout", "`time` that a client may stall while it sends a request body or takes an answer")
	o.maxHeaderSize = 64 << 10
	flags.Var(&o.maxHeaderSize, "max-header-size", "largest `size` of the head of a request: its request line and header fields")
	flags.BoolVar(&o.dropOddNames, "drop-odd-header-names", false, "drop all header fields of requests that have an underscore or a dot in their names, not only ambiguous ones")
	flags.StringVar(&o.edge, "edge", "on", "`whether` HTTP/1.1 is served by parachute's own server, which costs less and reads requests more strictly: on, or off for that of Go's library")
	flags.StringVar(&o.fleet, "fleet", "", "`where` this proxy meets others that serve the same services: storage, which is the one that all of them share with --storage or --config, or the address of a NATS, such as nats://user:password@10.0.0.1,10.0.0.2,10.0.0.3 (default: it is alone)")
	flags.StringVar(&o.fleetName, "fleet-name", "", "`name` of this proxy in the fleet, which no other one has (default: the name of the machine)")
	flags.StringVar(&o.fleetDir, "fleet-dir", "", "`directory` of this proxy's own, on a local disk, for what it keeps of the services of the fleet (default: Caddy's data directory)")
	o.fleetMissing = api.Duration(time.Minute)
	flags.Var(&o.fleetMissing, "fleet-missing-after", "`time` that a proxy of the fleet which is not heard of keeps the others from deciding; 0 means until it is forgotten")
	flags.StringVar(&o.fleetServer, "fleet-server", "", "`address` of those of --fleet that this proxy itself is: it runs the NATS server of the fleet there (default: it runs none)")
	flags.StringVar(&o.fleetSecret, "fleet-secret-file", "", "`file` with a secret of 32 characters or more, the same on all proxies, by which the proxies and the servers of --fleet-server know each other")
	flags.BoolVar(&o.takeover, "takeover", false, "take over from the proxy that runs with the same --admin, if one does, without losing a request; parachute upgrade does it by itself")
	o.linger = api.Duration(DefaultLinger)
	flags.Var(&o.linger, "linger", "`time` that this process stays for the clients that it has, once another one has taken over from it")
	flags.Var(&o.gracePeriod, "grace-period", "`time` that requests and streams have to finish when the proxy stops")
	flags.Var(&o.shutdownDelay, "shutdown-delay", "`time` for which the proxy goes on as before when it is told to stop, but says on --metrics-port and --ping-path that it is not ready, before the grace period begins")
	flags.StringVar(&o.pingPath, "ping-path", "", "`path`, such as /ping, that says on every host whether clients should come, for load balancers in front (default: none)")
}
