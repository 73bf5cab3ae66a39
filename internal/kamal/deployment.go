package kamal

import (
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// streamTimeout is the time after which streams of an old release are asked to close.
// kamal-proxy cuts WebSockets at once, and Kamal's users wait for each deploy.
const streamTimeout = api.Duration(5 * time.Second)

// deployment is what kamal-proxy is told of a service: by the flags of a deploy, or by its state
// file. Times are never negative.
type deployment struct {
	service                       string
	targets, readTargets          []string
	hosts, pathPrefixes           []string
	stripPathPrefix               bool
	scopeCookiePaths              bool
	tls, tlsRedirect              bool
	tlsOnDemandURL                string
	certificatePath, keyPath      string
	canonicalHost                 string
	deployTimeout, drainTimeout   time.Duration
	force                         bool
	healthInterval, healthTimeout time.Duration
	healthPath, healthHost        string
	healthPort                    int
	targetTimeout                 time.Duration
	writerAffinity                time.Duration
	readTargetWebSockets          bool
	bufferRequests                bool
	bufferResponses               bool
	bufferMemory                  int64
	maxRequestBody                int64
	maxResponseBody               int64
	errorPages                    string
	logRequestHeaders             []string
	logResponseHeaders            []string
	excludeMetricsPaths           []string
	forwardHeaders                bool
	clientIPHeader                string
}

// Defaults of kamal-proxy where parachute has none, or another one.
const (
	defaultBufferMemory   = 1 << 20
	defaultWriterAffinity = time.Second
)

// newDeployment returns what kamal-proxy takes for everything that it is not told.
func newDeployment() deployment {
	return deployment{
		stripPathPrefix: true, tlsRedirect: true,
		deployTimeout: time.Duration(api.DefaultDeployTimeout), drainTimeout: time.Duration(api.DefaultDrainTimeout),
		healthInterval: time.Duration(api.DefaultHealthCheckInterval), healthTimeout: time.Duration(api.DefaultHealthCheckTimeout),
		healthPath: api.DefaultHealthCheckPath, targetTimeout: time.Duration(api.DefaultTargetTimeout),
		writerAffinity: defaultWriterAffinity, bufferMemory: defaultBufferMemory,
	}
}

// mapping says which setting of a deploy a flag of kamal-proxy's is.
type mapping struct {
	flag  string
	field string
	// value returns the value of the setting; nil if that is its default.
	value func(*deployment) any
}

// mappings are those of all flags whose value is a setting.
var mappings = []mapping{
	{flag: "target", field: "targets", value: func(d *deployment) any { return withPorts(d.targets) }},
	{flag: "host", field: "hosts", value: func(d *deployment) any { return list(namedHosts(d.hosts)) }},
	{flag: "path-prefix", field: "path_prefixes", value: func(d *deployment) any { return list(prefixes(d.pathPrefixes)) }},
	{flag: "strip-path-prefix", field: "strip_path_prefix", value: func(d *deployment) any { return d.stripPathPrefix }},
	{flag: "scope-cookie-paths", field: "scope_cookie_paths", value: func(d *deployment) any { return d.scopeCookiePaths }},
	{flag: "forward-headers", field: "forward_headers", value: func(d *deployment) any { return d.forwardHeaders }},
	{flag: "client-ip-header", field: "client_ip_header", value: func(d *deployment) any { return text(d.clientIPHeader) }},
	{flag: "health-check-path", field: "health_check_path", value: func(d *deployment) any { return text(rooted(d.healthPath)) }},
	{flag: "health-check-port", field: "health_check_port", value: func(d *deployment) any { return d.healthPort }},
	{flag: "health-check-host", field: "health_check_host", value: func(d *deployment) any { return text(d.healthHost) }},
	{flag: "health-check-interval", field: "health_check_interval", value: func(d *deployment) any { return api.Duration(d.healthInterval) }},
	{flag: "health-check-timeout", field: "health_check_timeout", value: func(d *deployment) any { return api.Duration(d.healthTimeout) }},
	{flag: "deploy-timeout", field: "deploy_timeout", value: func(d *deployment) any { return api.Duration(d.deployTimeout) }},
	{flag: "drain-timeout", field: "drain_timeout", value: func(d *deployment) any { return api.Duration(d.drainTimeout) }},
	{flag: "target-timeout", field: "target_timeout", value: func(d *deployment) any { return api.Duration(d.targetTimeout) }},
	{flag: "canonical-host", field: "canonical_host", value: func(d *deployment) any { return text(d.canonicalHost) }},
	{flag: "force", field: "force", value: func(d *deployment) any { return d.force }},
	{flag: "tls-redirect", field: "tls.redirect", value: func(d *deployment) any { return d.ifTLS(d.tlsRedirect) }},
	{flag: "tls-on-demand-url", field: "tls.on_demand_url", value: func(d *deployment) any { return d.ifTLS(text(d.tlsOnDemandURL)) }},
	{flag: "tls-certificate-path", field: "tls.certificate_path", value: func(d *deployment) any { return d.ifTLS(text(d.certificatePath)) }},
	{flag: "tls-private-key-path", field: "tls.private_key_path", value: func(d *deployment) any { return d.ifTLS(text(d.keyPath)) }},

	{flag: "buffer-requests", field: "buffer_requests", value: func(d *deployment) any { return onlyIf(d.bufferRequests, true) }},
	{flag: "buffer-responses", field: "buffer_responses", value: func(d *deployment) any { return onlyIf(d.bufferResponses, true) }},
	{flag: "buffer-memory", field: "buffer_memory", value: func(d *deployment) any {
		return onlyIf((d.bufferRequests || d.bufferResponses) && d.bufferMemory != defaultBufferMemory, size(d.bufferMemory))
	}},
	// kamal-proxy limits no body that it does not buffer.
	{flag: "max-request-body", field: "max_body", value: func(d *deployment) any {
		return onlyIf(d.bufferRequests && d.maxRequestBody > 0, size(d.maxRequestBody))
	}},
	{flag: "max-response-body", field: "max_response_body", value: func(d *deployment) any {
		return onlyIf(d.bufferResponses && d.maxResponseBody > 0, size(d.maxResponseBody))
	}},
	{flag: "error-pages", field: "error_pages", value: func(d *deployment) any { return text(d.errorPages) }},
	{flag: "log-request-header", field: "log_request_headers", value: func(d *deployment) any { return list(d.logRequestHeaders) }},
	{flag: "log-response-header", field: "log_response_headers", value: func(d *deployment) any { return list(d.logResponseHeaders) }},
	{flag: "exclude-metrics-path", field: "exclude_metrics_paths", value: func(d *deployment) any { return list(d.excludeMetricsPaths) }},
	{flag: "read-target", field: "read_targets", value: func(d *deployment) any { return list(withPorts(d.readTargets)) }},
	// Without readers, kamal-proxy does nothing with these two.
	{flag: "writer-affinity-timeout", field: "writer_affinity", value: func(d *deployment) any {
		return onlyIf(len(d.readTargets) > 0, api.Duration(d.writerAffinity))
	}},
	{flag: "read-target-websockets", field: "read_target_websockets", value: func(d *deployment) any {
		return onlyIf(len(d.readTargets) > 0 && d.readTargetWebSockets, true)
	}},
}

// patch returns the deploy that d asks for. A deploy of kamal-proxy's says everything: what it does
// not name has its default, and not what it had before.
func (d *deployment) patch() api.Patch {
	p := api.Patch{"service": d.service, "reset": true, "stream_timeout": streamTimeout}
	if d.tls {
		// It waits for no certificate, as with kamal-proxy: Kamal would give up the release.
		p.Set("tls.wait", false)
	}
	for _, m := range mappings {
		if v := m.value(d); v != nil {
			p.Set(m.field, v)
		}
	}
	return p
}

// ifTLS returns a value that counts with TLS only.
func (d *deployment) ifTLS(v any) any { return onlyIf(d.tls, v) }

func onlyIf(is bool, v any) any {
	if !is {
		return nil
	}
	return v
}

// text returns a text that is no setting if it is empty.
func text(s string) any { return onlyIf(s != "", s) }

// list returns a list that is no setting if it is empty.
func list(l []string) any { return onlyIf(len(l) > 0, l) }

// size writes a size in bytes.
func size(n int64) any { return strconv.FormatInt(n, 10) }

// withPorts gives targets their port, which kamal-proxy lets people leave out.
func withPorts(targets []string) []string {
	all := make([]string, len(targets))
	for i, t := range targets {
		if all[i] = t; t != "" && !strings.ContainsAny(t, ":/") {
			all[i] = net.JoinHostPort(t, "80")
		}
	}
	return all
}

// namedHosts returns hosts as parachute has them: the empty one, which is every host in
// kamal-proxy, is no host at all.
func namedHosts(hosts []string) []string {
	if slices.Contains(hosts, "") {
		return nil
	}
	return hosts
}

// prefixes returns path prefixes with their slash at the beginning, and without one at the end.
func prefixes(given []string) []string {
	all := make([]string, len(given))
	for i, p := range given {
		all[i] = "/" + strings.Trim(p, "/")
	}
	return all
}

// rooted returns the path of a health check as kamal-proxy joins it to the address of a target.
func rooted(p string) string {
	if p == "" {
		return "/"
	}
	return path.Join("/", p)
}
