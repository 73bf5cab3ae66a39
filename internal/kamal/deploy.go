package kamal

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/cli"
	"github.com/parachute-proxy/parachute/internal/client"
	"github.com/parachute-proxy/parachute/internal/version"
)

func (p *program) deployCommand() *cobra.Command {
	d := newDeployment()
	var staging bool
	cachePath := certificateDir()
	cmd := &cobra.Command{
		Use:       "deploy <service>",
		Short:     "Deploy a target host",
		Args:      cobra.ExactArgs(1),
		ValidArgs: []string{"service"},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&d.targets, "target", nil, "Target host(s) to deploy")
	flags.StringSliceVar(&d.readTargets, "read-target", nil, "Read-only target host(s) to deploy")
	flags.StringSliceVar(&d.hosts, "host", nil, "Host(s) to serve this target on (empty for wildcard)")
	flags.StringSliceVar(&d.pathPrefixes, "path-prefix", nil, "Deploy the service below the specified path(s)")
	flags.BoolVar(&d.stripPathPrefix, "strip-path-prefix", d.stripPathPrefix, "With --path-prefix, strip prefix from request before forwarding")

	flags.BoolVar(&d.tls, "tls", false, "Configure TLS for this target (requires a non-empty host)")
	flags.StringVar(&d.tlsOnDemandURL, "tls-on-demand-url", "", "URL or path of the service that answers 200 for names that may have a certificate")
	flags.BoolVar(&staging, "tls-staging", false, "Use Let's Encrypt staging environment; the proxy has to run with PARACHUTE_TLS_STAGING=true")
	flags.StringVar(&d.certificatePath, "tls-certificate-path", "", "Configure custom TLS certificate path (PEM format)")
	flags.StringVar(&d.keyPath, "tls-private-key-path", "", "Configure custom TLS private key path (PEM format)")
	flags.StringVar(&cachePath, "tls-acme-cache-path", cachePath, "Where kamal-proxy kept certificates; they are taken over when the proxy starts")
	flags.BoolVar(&d.tlsRedirect, "tls-redirect", d.tlsRedirect, "Redirect HTTP traffic to HTTPS")
	flags.StringVar(&d.canonicalHost, "canonical-host", "", "Redirect all requests to this host")

	addTimeouts(flags, &d)
	flags.BoolVar(&d.force, "force", false, "Skip health checks and force deployment")
	flags.DurationVar(&d.healthInterval, "health-check-interval", d.healthInterval, "Interval between health checks")
	flags.DurationVar(&d.healthTimeout, "health-check-timeout", d.healthTimeout, "Time each health check must complete in")
	flags.StringVar(&d.healthPath, "health-check-path", d.healthPath, "Path to check for health")
	flags.IntVar(&d.healthPort, "health-check-port", 0, "Port to check for health (default matches target port)")
	flags.StringVar(&d.healthHost, "health-check-host", "", "Host header to send with health check requests (default the first host, or the target)")
	flags.DurationVar(&d.writerAffinity, "writer-affinity-timeout", d.writerAffinity, "Time after a write before read requests will be routed to readers")
	flags.BoolVar(&d.readTargetWebSockets, "read-target-websockets", false, "Route WebSocket traffic to read targets, when available")
	flags.DurationVar(&d.targetTimeout, "target-timeout", d.targetTimeout, "Maximum time to wait for the target server to respond when serving requests")

	flags.BoolVar(&d.bufferRequests, "buffer-requests", false, "Buffer requests before forwarding to target")
	flags.BoolVar(&d.bufferResponses, "buffer-responses", false, "Buffer responses before forwarding to client")
	flags.Int64Var(&d.bufferMemory, "buffer-memory", d.bufferMemory, "Max size of memory buffer")
	flags.Int64Var(&d.maxRequestBody, "max-request-body", 0, "Max size of request body when buffering (default of 0 means unlimited)")
	flags.Int64Var(&d.maxResponseBody, "max-response-body", 0, "Max size of response body when buffering (default of 0 means unlimited)")
	flags.StringVar(&d.errorPages, "error-pages", "", "Path to custom error pages")

	flags.StringSliceVar(&d.logRequestHeaders, "log-request-header", nil, "Additional request header to log (may be specified multiple times)")
	flags.StringSliceVar(&d.logResponseHeaders, "log-response-header", nil, "Additional response header to log (may be specified multiple times)")
	flags.StringSliceVar(&d.excludeMetricsPaths, "exclude-metrics-path", nil, "Request path(s) to exclude from Prometheus metrics (may be specified multiple times)")
	flags.BoolVar(&d.forwardHeaders, "forward-headers", false, "Forward X-Forwarded headers to target (default false if TLS enabled; otherwise true)")
	flags.StringVar(&d.clientIPHeader, "client-ip-header", "", "Request header containing the original client IP, from senders that are believed")
	flags.BoolVar(&d.scopeCookiePaths, "scope-cookie-paths", false, "Scope cookie paths to match path prefix")
	_ = cmd.MarkFlagRequired("target")
	cmd.MarkFlagsRequiredTogether("tls-certificate-path", "tls-private-key-path")

	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		d.service = args[0]
		if !flags.Changed("forward-headers") {
			d.forwardHeaders = !d.tls
		}
		if err := p.checkFlags(flags, &d, staging, cachePath); err != nil {
			return err
		}
		return p.deploy(&d, d.patch(), api.PathDeployments)
	}
	return cmd
}

// addTimeouts adds the flags that say how long a deployment may take.
func addTimeouts(flags *pflag.FlagSet, d *deployment) {
	flags.DurationVar(&d.deployTimeout, "deploy-timeout", d.deployTimeout, "Maximum time to wait for the new target to become healthy")
	flags.DurationVar(&d.drainTimeout, "drain-timeout", d.drainTimeout, "Maximum time to allow existing connections to drain before removing old target")
}

// checkFlags returns why flags do not go together, as kamal-proxy sees it, and warns of those
// that do nothing.
func (p *program) checkFlags(flags *pflag.FlagSet, d *deployment, staging bool, cachePath string) error {
	for _, of := range []struct {
		limit, buffer, what string
		buffers             bool
	}{
		{"max-request-body", "buffer-requests", "request", d.bufferRequests},
		{"max-response-body", "buffer-responses", "response", d.bufferResponses},
	} {
		switch {
		case !flags.Changed(of.limit):
		case !flags.Changed(of.buffer):
			return fmt.Errorf("%s can only be set when %s buffering is enabled", of.limit, of.what)
		case !of.buffers:
			p.warn("--%s has no effect with --%s=false", of.limit, of.buffer)
		}
	}
	for _, name := range []string{"tls-on-demand-url", "tls-certificate-path"} {
		if flags.Changed(name) && flags.Lookup(name).Value.String() != "" && !d.tls {
			if name == "tls-on-demand-url" {
				return fmt.Errorf("service options invalid: TLS must be enabled to use a TLS on-demand URL")
			}
			p.warn("--%s has no effect without --tls", name)
		}
	}
	// In this environment, the proxy runs as well: it is that of the container.
	if staging && os.Getenv("PARACHUTE_TLS_STAGING") != "true" {
		return fmt.Errorf("--tls-staging is for the whole proxy in parachute %s: start that with PARACHUTE_TLS_STAGING=true in its environment", version.Version())
	}
	if flags.Changed("tls-acme-cache-path") && filepath.Clean(cachePath) != certificateDir() {
		p.warn("new certificates are kept in the storage of the proxy, not in %s", api.Printable(cachePath))
	}
	return nil
}

// deploy asks for a deployment at a path of the API, and returns when it is over.
func (p *program) deploy(d *deployment, patch api.Patch, path string) error {
	c, err := p.client()
	if err != nil {
		return err
	}
	result, err := follow(c, path, patch)
	switch {
	case api.ErrorCode(err) == client.CodeInterrupted:
		return fmt.Errorf("interrupted; see what serves with: parachute status %s", api.ShellWord(d.service))
	case err != nil:
		return d.ofDeploy(err)
	case result.Error != nil && result.Error.Code != api.CodeUndecided:
		failed := *result.Error
		if failed.Code == api.CodeNotHealthy {
			failed.Message += failuresOf(result.Probes)
		}
		if result.Serving > 0 {
			failed.Message += "; the release before still serves"
		}
		return d.ofDeploy(&failed)
	case result.Cut != nil:
		p.warn("the new release serves, but %s to drain the old one", result.Cut)
	}
	return nil
}

// failuresOf tells what each target that is not healthy has answered: who deploys with Kamal
// sees nothing but the error.
func failuresOf(reports []api.ProbeReport) string {
	var text strings.Builder
	for _, r := range reports {
		if !r.Healthy {
			fmt.Fprintf(&text, "; %s: %s", r.Target, cli.FailuresOf(r))
		}
	}
	return text.String()
}

// follow asks for a deployment and returns how it has ended.
func follow(c *client.Client, path string, patch api.Patch) (*api.DeploymentStatus, error) {
	ctx, stop := interruptible()
	defer stop()
	var result *api.DeploymentStatus
	err := c.Stream(ctx, path, patch, func(ev api.Event) error {
		result = ev.Result
		return nil
	})
	return result, err
}
