package api

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
)

// Defaults of a [DeployRequest].
const (
	DefaultHealthCheckPath     = "/up"
	DefaultHealthCheckStatus   = "200-299"
	DefaultHealthCheckInterval = Duration(1 * time.Second)
	DefaultHealthCheckTimeout  = Duration(5 * time.Second)
	DefaultDeployTimeout       = Duration(30 * time.Second)
	DefaultDrainTimeout        = Duration(30 * time.Second)
	DefaultStreamTimeout       = Duration(10 * time.Second)
	DefaultTargetTimeout       = Duration(30 * time.Second)
	DefaultHoldTimeout         = Duration(5 * time.Second)
	DefaultBufferMemory        = Size(1 << 20)
)

// Bounds of a [DeployRequest]: how many targets, hosts and path prefixes it may name,
// and how long a timeout may be.
const (
	MaxTargets  = 128
	MaxHosts    = 1000
	MaxPrefixes = 100
	// MaxHealthCheckHeaders bounds the header fields of a health check.
	MaxHealthCheckHeaders = 32
	// MaxHealthCheckBody bounds the text that a health check looks for, in bytes.
	MaxHealthCheckBody = 1024
	MaxTimeout         = Duration(24 * time.Hour)
)

// DeployRequest asks for a deployment, with everything that is asked for. The defaults are
// those of a new service: what a deploy of another one does not name, it keeps; see [Patch].
type DeployRequest struct {
	// Service is the name of the service. Default: the first host, or "default"
	// without one.
	Service string `json:"service,omitempty"`
	// Targets are the instances of the new release, at least one. See
	// [ParseTarget] for their form.
	Targets []string `json:"targets,omitempty"`
	// ReadTargets are further instances, which get requests that read (GET and HEAD, which are
	// safe by RFC 9110, section 9.2.1) and nothing else, in place of Targets, for as long as one
	// of them does not fail. Like Targets, and unlike what else a service keeps, they are
	// dropped by a deploy that names targets but not them. Default: none.
	ReadTargets []string `json:"read_targets,omitempty"`
	// Hosts are the names that the service is for, such as "app.example.com" or
	// "*.example.com". Default: every host that no other service claims.
	Hosts []string `json:"hosts,omitempty"`
	// PathPrefixes are the paths that the service is for. Default: "/".
	PathPrefixes []string `json:"path_prefixes,omitempty"`
	// StripPathPrefix removes the matched prefix from the path before the
	// request is forwarded. Default: true.
	StripPathPrefix *bool `json:"strip_path_prefix,omitempty"`
	// ScopeCookiePaths puts the prefix that was removed before the paths of the cookies that
	// the application sets for the host of the request (RFC 6265, section 4.1.2.4), so that
	// the services of one host do not get those of each other. Default: false.
	ScopeCookiePaths bool `json:"scope_cookie_paths,omitempty"`
	// ForwardHeaders passes the fields X-Forwarded-For, -Proto and -Host of every sender on to
	// the targets, the first with the sender's address added, as for a proxy that is trusted.
	// Clients that reach the proxy can make them up. Default: false.
	ForwardHeaders bool `json:"forward_headers,omitempty"`
	// ClientIPHeader is a field in which a sender that is believed, because the proxy trusts it
	// or because of ForwardHeaders, names the address of the client, as in "CF-Connecting-IP".
	// It replaces what X-Forwarded-For says. Targets do not get it from others. Default: none.
	ClientIPHeader string `json:"client_ip_header,omitempty"`

	// HealthCheckPath is what readiness is asked with. Default: "/up".
	HealthCheckPath string `json:"health_check_path,omitempty"`
	// HealthCheckPort is the port to ask. Default: the target's.
	HealthCheckPort int `json:"health_check_port,omitempty"`
	// HealthCheckHost is the Host header to ask with. Default: the service's
	// first host, or the target's address without one.
	HealthCheckHost string `json:"health_check_host,omitempty"`
	// HealthCheckHeaders are fields to ask with besides, each as "Name: value". With TLS,
	// X-Forwarded-Proto and X-Forwarded-Host are sent as for a visitor. Default: none.
	HealthCheckHeaders []string `json:"health_check_headers,omitempty"`
	// HealthCheckStatus are the statuses that say that an instance is ready, as in "200-399"
	// or "200,204,301". See [ParseStatusRanges]. Default: 200-299.
	HealthCheckStatus string `json:"health_check_status,omitempty"`
	// HealthCheckBody is a text that the answer has to contain, in its first 64 KiB.
	// Default: none.
	HealthCheckBody string `json:"health_check_body,omitempty"`
	// HealthCheckInterval is the longest pause between two checks of a target before
	// the switch, and the pause after it, from 10ms. More than a hundred services that have
	// one target each are asked a hundred times a second in all after the switch, and each
	// of them once a minute at least. Default: 1s.
	HealthCheckInterval *Duration `json:"health_check_interval,omitempty"`
	// HealthCheckTimeout is the time that one check may take, from 1ms.
	// Default: 5s.
	HealthCheckTimeout *Duration `json:"health_check_timeout,omitempty"`

	// Warm are paths that every target is asked for before the switch, WarmRequests times
	// each. What it answers is told, and ends nothing. Default: none, and 3 times.
	Warm         []string `json:"warm,omitempty"`
	WarmRequests int      `json:"warm_requests,omitempty"`
	// Smoke are paths that every target has to answer with a status below 400 before the
	// switch. Default: none.
	Smoke []string `json:"smoke,omitempty"`

	// DeployTimeout is the time in which all targets have to become healthy,
	// from 1ms. Default: 30s.
	DeployTimeout *Duration `json:"deploy_timeout,omitempty"`
	// DrainTimeout is the time that requests of the old release have to finish
	// before they are cut; 0 cuts them at once. Default: 30s.
	DrainTimeout *Duration `json:"drain_timeout,omitempty"`
	// StreamTimeout is the time after which streams of the old release are
	// closed politely; 0 closes them at once. Default: 10s.
	StreamTimeout *Duration `json:"stream_timeout,omitempty"`
	// TargetTimeout is the time that a target has to begin its answer; 0 waits
	// for ever. Default: 30s.
	TargetTimeout *Duration `json:"target_timeout,omitempty"`
	// TargetCA is a PEM file on the proxy's machine with the authorities that the
	// certificates of https targets have to come from. It is read by the deploy and kept with
	// the release, so a file that changes is used by the next deploy. Default: the
	// authorities that the proxy's machine trusts.
	TargetCA string `json:"target_ca,omitempty"`
	// TargetServerName is the name that https targets are asked for (SNI), and that their
	// certificates have to have. Default: the host of the target.
	TargetServerName string `json:"target_server_name,omitempty"`
	// TargetInsecure takes any certificate of https targets. Default: false.
	TargetInsecure bool `json:"target_insecure,omitempty"`
	// HoldTimeout is the time that a request is held while no target can be
	// reached, as during the restart of an instance; 0 fails it at once.
	// Default: 5s.
	HoldTimeout *Duration `json:"hold_timeout,omitempty"`

	// MaxBody is how large the body of a request may be. A larger one is answered with 413 (RFC
	// 9110, section 15.5.14), before any of it is read if the request says how large it is.
	// Default: 0, which is no limit.
	MaxBody Size `json:"max_body,omitempty"`
	// BufferRequests has the body of a request read to its end before a target gets it: by then,
	// the release may be another one, and it may be sent to several targets until one has it. The
	// bodies of gRPC calls are not buffered. Default: false.
	BufferRequests bool `json:"buffer_requests,omitempty"`
	// MaxResponseBody is how large the body of an answer may be. A larger one is answered with
	// 502, or breaks off if its length was not known before. It does not count for event streams,
	// gRPC and upgraded connections. Default: 0, which is no limit.
	MaxResponseBody Size `json:"max_response_body,omitempty"`
	// BufferResponses has the body of an answer read to its end before the client gets it, if the
	// answer says how long it is. What has no length is passed on as it comes, and so is what says
	// "X-Accel-Buffering: no". Default: false.
	BufferResponses bool `json:"buffer_responses,omitempty"`
	// BufferMemory is how much of one body that is buffered is in memory. The rest is in a
	// temporary file. Default: 1MiB.
	BufferMemory *Size `json:"buffer_memory,omitempty"`

	// ErrorPages is a directory on the proxy's machine with templates of html/template, each named
	// after its status, as in 503.html. They are the pages of the proxy's own answers, such as those
	// while the service is stopped. The deploy reads it and keeps what is in it with the release.
	// Default: the built-in page.
	ErrorPages string `json:"error_pages,omitempty"`
	// InterceptErrors are statuses from 400 to 599, as in "500-599" or "404,503". Answers of the
	// application with one of them are replaced by such a page for clients that name text/html in
	// Accept. Default: none.
	InterceptErrors string `json:"intercept_errors,omitempty"`

	// LogRequestHeaders and LogResponseHeaders are fields of requests, and of answers as clients get
	// them, that lines of the access log have besides, as req_user_agent and resp_cache_control. Several
	// values are joined by commas; credentials and cookies are not logged. Default: none.
	LogRequestHeaders  []string `json:"log_request_headers,omitempty"`
	LogResponseHeaders []string `json:"log_response_headers,omitempty"`
	// ExcludeMetricsPaths are paths, as the application gets them, of requests that are not counted
	// in the numbers and durations of requests. They are logged. Default: none.
	ExcludeMetricsPaths []string `json:"exclude_metrics_paths,omitempty"`

	// LB is how requests are spread over several targets. Default: least_conn.
	LB LoadBalancing `json:"lb,omitempty"`
	// Sticky keeps a client with the target that it was with first, by a cookie,
	// for as long as that target is there and not failing. Default: false.
	Sticky bool `json:"sticky,omitempty"`
	// StickySameSite is with which requests browsers send that cookie. Default: none, for
	// those of all sites, over HTTPS, and lax over plain HTTP, where browsers refuse none.
	StickySameSite SameSite `json:"sticky_same_site,omitempty"`

	// WriterAffinity is the time for which a client that has written is read for by Targets, so
	// that it sees what it wrote although the read targets do not have it yet. A cookie keeps it.
	// 0 is no time. Default: 1s.
	WriterAffinity *Duration `json:"writer_affinity,omitempty"`
	// ReadTargetWebSockets sends WebSockets to ReadTargets as well. Default: false.
	ReadTargetWebSockets bool `json:"read_target_websockets,omitempty"`
	// BeforeSwitch is a URL that is asked before the switch whether it may happen, with a
	// [Proposal]. Default: none.
	BeforeSwitch string `json:"before_switch,omitempty"`

	// Headers are fields that every answer has, in place of those of the target, each as
	// "Name: value", or as "-Name" for one that no answer has. Default: none.
	Headers []string `json:"headers,omitempty"`
	// HSTS is the value of Strict-Transport-Security (RFC 6797, section 6.1), which answers
	// over HTTPS have. Default: none.
	HSTS string `json:"hsts,omitempty"`
	// DenyIP are addresses, or ranges of them (RFC 4632), of clients that are refused with 403.
	// If there are AllowIP, all others than those are. Default: none.
	DenyIP  []string `json:"deny_ip,omitempty"`
	AllowIP []string `json:"allow_ip,omitempty"`
	// Redirects are paths with where their clients are sent, as "FROM TO" or "FROM TO STATUS".
	// A star in FROM stands for anything. Default: none, and a status of 302.
	Redirects []string `json:"redirects,omitempty"`
	// RateLimit is how many requests a client may make in a time, such as "100/1m". Clients are
	// told apart by their addresses. Default: any number.
	RateLimit string `json:"rate_limit,omitempty"`
	// BasicAuth are who may get in (RFC 7617), each as "NAME:HASH" with a hash of the password
	// by bcrypt or argon2id. Default: everybody.
	BasicAuth []string `json:"basic_auth,omitempty"`
	// ForwardAuth is a URL that is asked of each request whether it may pass: it may if the
	// answer is 2xx, and any other answer is for the client. ForwardAuthHeaders are the fields
	// of that answer that the target gets. Default: nobody is asked.
	ForwardAuth        string   `json:"forward_auth,omitempty"`
	ForwardAuthHeaders []string `json:"forward_auth_headers,omitempty"`
	// Compress has answers compressed for clients that accept it. Default: false.
	Compress bool `json:"compress,omitempty"`
	// Rewrites are paths that the target is asked for in place of others, as "FROM TO". The
	// first that fits is done. Default: none.
	Rewrites []string `json:"rewrites,omitempty"`
	// With are directives of a Caddyfile that requests for the service pass on their way to a
	// target, behind all of these, in the order in which they are written. Default: none.
	With string `json:"with,omitempty"`

	// TLS asks for HTTPS. Default: none; clients that come by TLS nevertheless, with
	// a certificate that the host of the proxy has, are served.
	TLS *TLSRequest `json:"tls,omitempty"`
	// CanonicalHost is the one of the hosts that clients of the others are redirected
	// to, as from www.example.com to example.com. Default: none.
	CanonicalHost string `json:"canonical_host,omitempty"`

	// ClientCA are the authorities, as PEM, that certificates of clients have to come from.
	// Default: clients need no certificate.
	ClientCA string `json:"client_ca,omitempty"`
	// ClientAuth says whether a client without a certificate is served. Default: required.
	ClientAuth ClientAuth `json:"client_auth,omitempty"`

	// TakeOver moves the routes from other services that have them, in the one step of the
	// switch. A service that has none left is drained and gone. A new service that takes over
	// all that one other has starts from the settings of that. Default: false, so that a
	// route which another service has is an error with [CodeRouteConflict].
	TakeOver bool `json:"take_over,omitempty"`
	// Reset has the deploy start from the defaults instead of what the service has.
	Reset bool `json:"reset,omitempty"`
	// Note is what people know the release by. Default: nothing.
	Note *Note `json:"note,omitempty"`
	// Watch is for how long the release before stays ready, once the new one serves all
	// requests. If the new one fails more than it may meanwhile, the one before serves again,
	// and the deployment ends with [CodeReverted]. Default: 0, which is not to watch.
	Watch *Duration `json:"watch,omitempty"`
	// Canary is the share of the clients that get the new release, such as "10%", until it is
	// promoted or aborted. Default: all of them.
	Canary string `json:"canary,omitempty"`
	// Steps are shares with the times that they last, such as "5%/2m", "25%/5m" and "100%".
	// Each is more than the one before. A step without a time lasts until somebody decides.
	// After the last one the release gets all clients. Default: none.
	Steps []string `json:"steps,omitempty"`
	// SlowStart is the time in which the share of the new release grows evenly from nothing to
	// all, so that its caches can fill. Default: 0, which is all at once.
	SlowStart *Duration `json:"slow_start,omitempty"`
	// CanaryBy says what a client is known by, so that it stays with a release: "cookie", "ip"
	// "header:NAME", or "cookie:NAME" for a cookie that the application sets: a client without
	// it never gets the new release. Default: cookie, which the proxy sets.
	CanaryBy string `json:"canary_by,omitempty"`
	// MaxErrorRate is the share of the requests to the new release that may fail: twice what
	// failed with the release before, if that is more. Default: 1%.
	MaxErrorRate string `json:"max_error_rate,omitempty"`
	// MaxSlow is the share of the requests that may take longer than 95 % of those to the
	// release before. Default: all of them.
	MaxSlow string `json:"max_slow,omitempty"`
	// MinRequests is how many requests the new release must have had before it is trusted.
	// Default: 20.
	MinRequests int `json:"min_requests,omitempty"`
	// OnInconclusive says what becomes of a release that has had fewer. Default: pause for a
	// step, promote for a watch.
	OnInconclusive OnInconclusive `json:"on_inconclusive,omitempty"`
	// CheckURL is a URL that is asked as well whether the new release is fine, with a
	// [RolloutStatus]: 2xx says that it is, 5xx that it is not, anything else that it is not
	// known. Default: none.
	CheckURL string `json:"check_url,omitempty"`
	// Keep has the release before stay ready for a rollback in an instant, until the next
	// deploy. Its instances must then not be removed. Default: false.
	Keep bool `json:"keep,omitempty"`
	// FailOnCut has the deployment end with [CodeDrainTimeout] if requests or streams of the
	// old release had to be cut. The new release serves all the same. Default: false, for
	// what calls it takes a failure for a release that did not start, and would stop it.
	FailOnCut bool `json:"fail_on_cut,omitempty"`
	// Force skips the health check: the release takes traffic at once.
	Force bool `json:"force,omitempty"`
	// Without are names of proxies of the fleet that are known to be gone, for good or not: the deployment
	// does not wait until they are forgotten. Default: none.
	Without []string `json:"without,omitempty"`
	// Detach lets the deployment go on when its caller goes away; the call
	// returns as soon as the deployment is accepted.
	Detach bool `json:"detach,omitempty"`
}

// Spec is a [DeployRequest] with everything decided: normalised, bounded, and
// with its defaults filled in.
type Spec struct {
	// Service is the name of the service.
	Service string
	// Targets are the instances of the release, at least one, all different.
	Targets []Target
	// ReadTargets get the requests that read, if there are any. They are none of Targets.
	ReadTargets []Target
	// Hosts are normalised, as by [NormalizeHost]; none means every host.
	Hosts []string
	// Routes is every pair of the hosts and path prefixes.
	Routes []Route
	// Options are the settings that the release keeps for as long as it serves.
	Options Options
	// TargetCA is what the file Options.TargetCA has in it. A request does not tell: who
	// accepts it fills it in.
	TargetCA string
	// ErrorPages are the files of Options.ErrorPages, by their names. A request does not tell: who
	// accepts it fills it in.
	ErrorPages map[string]string
	// Handlers are what requests pass on their way to a target, as the host of the engine has
	// made it of Options; nil if they pass nothing. A request does not tell: who accepts it
	// fills it in.
	Handlers json.RawMessage

	// Note is what people know the release by.
	Note Note
	// Rollout is how the release is brought into service; nil if it is at once and for good,
	// as nearly always.
	Rollout *Rollout
	// WaitForCertificates has the deployment fail without certificates.
	WaitForCertificates bool
	// TakeOver, FailOnCut, Force and Detach are those of the request.
	TakeOver  bool
	FailOnCut bool
	Force     bool
	Detach    bool
	// WithoutProxies is Without of the request.
	WithoutProxies []string
}

// Validate returns an [Error] with [CodeInvalid] that names the first field
// which is wrong, or nil.
func (r DeployRequest) Validate() error {
	_, err := r.Resolve()
	return err
}

// ValidateValues returns an [Error] with [CodeInvalid] that names the first field whose
// value no deploy can have, or nil. How fields go together depends on the service that a
// [Patch] is for.
func (r DeployRequest) ValidateValues() error {
	return r.resolve(new(Spec), r.resolveTargets, r.resolveReadTargets, r.resolveSettings, r.resolveRoutes, r.resolveClientIPHeader, r.resolveHealthCheck, r.resolveHealthyAnswer, r.resolveVisits, r.resolveBeforeSwitch, r.resolveErrorPages, r.resolveLogFields, r.resolveHandlers, r.resolveNote, r.resolveRollout)
}

// Resolve returns what the request asks for with everything decided, or an [Error]
// with [CodeInvalid] that names the first field which is wrong.
func (r DeployRequest) Resolve() (Spec, error) {
	s := Spec{Service: r.Service, TakeOver: r.TakeOver, FailOnCut: r.FailOnCut, Force: r.Force, Detach: r.Detach, WithoutProxies: r.Without}
	if err := r.resolve(&s, r.resolveTargets, r.resolveReadTargets, r.resolveSettings, r.resolveRoutes, r.resolveName, r.resolveClientIPHeader, r.resolveHealthCheck, r.resolveHealthyAnswer, r.resolveVisits, r.resolveBeforeSwitch, r.resolveErrorPages, r.resolveLogFields, r.resolveHandlers, r.resolveSticky, r.resolveTargetTLS, r.resolveNote, r.resolveTLS, r.resolveClientCA, r.resolveCanonicalHost, r.resolveRollout); err != nil {
		return Spec{}, err
	}
	return s, nil
}

// Routes returns the routes that the request names, or an [Error] with [CodeInvalid].
func (r DeployRequest) Routes() ([]Route, error) {
	var s Spec
	err := r.resolveRoutes(&s)
	return s.Routes, err
}

// resolve does parts of [DeployRequest.Resolve], up to the first that fails.
func (r DeployRequest) resolve(s *Spec, parts ...func(*Spec) error) error {
	for _, part := range parts {
		if err := part(s); err != nil {
			return err
		}
	}
	return nil
}

func (r DeployRequest) resolveTargets(s *Spec) error {
	if len(r.Targets) == 0 {
		return Invalid("a deploy needs at least one target").WithHint("name the instance as host:port, as in web-1:3000")
	}
	if len(r.Targets) > MaxTargets {
		return Invalid("a release can have at most %d targets, not %d", MaxTargets, len(r.Targets))
	}
	var err error
	s.Targets, err = parseTargets(r.Targets, nil)
	return err
}

// parseTargets returns targets, each of which must be named once in them and in others.
func parseTargets(named []string, others []Target) (targets []Target, err error) {
	for _, target := range named {
		t, err := ParseTarget(target)
		if err != nil {
			return nil, Invalid("%v", err)
		}
		if slices.Contains(targets, t) || slices.Contains(others, t) {
			return nil, Invalid("target %q is named twice", t)
		}
		targets = append(targets, t)
	}
	return targets, nil
}

func (r DeployRequest) resolveRoutes(s *Spec) error {
	if len(r.Hosts) > MaxHosts || len(r.PathPrefixes) > MaxPrefixes {
		return Invalid("a service can have at most %d hosts and %d path prefixes", MaxHosts, MaxPrefixes)
	}
	var err error
	if s.Hosts, err = normalizeAll(r.Hosts, NormalizeHost); err != nil {
		return err
	}
	if s.Options.PathPrefixes, err = normalizeAll(r.PathPrefixes, NormalizePrefix); err != nil {
		return err
	}
	if len(s.Options.PathPrefixes) == 0 {
		s.Options.PathPrefixes = []string{"/"}
	}
	s.Routes = RoutesOf(s.Hosts, s.Options.PathPrefixes)
	return nil
}

// normalizeAll normalises each of values and drops repetitions, which are
// harmless: they come from lists that people generate.
func normalizeAll(values []string, normalize func(string) (string, error)) ([]string, error) {
	var all []string
	for _, v := range values {
		n, err := normalize(v)
		if err != nil {
			return nil, invalid(err)
		}
		if !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	return all, nil
}

// invalid returns err as an [Error] with [CodeInvalid].
func invalid(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return Invalid("%v", err)
}

func (r DeployRequest) resolveName(s *Spec) error {
	if s.Service != "" {
		return ValidateServiceName(s.Service)
	}
	s.Service = DefaultServiceName(s.Hosts)
	if ValidateServiceName(s.Service) != nil {
		return Invalid("a service cannot be named after the host %s", s.Service).WithHint("give it a name with %s", Field("service"))
	}
	return nil
}

// resolveHealthCheck checks what the health check asks with.
func (r DeployRequest) resolveHealthCheck(s *Spec) error {
	o := &s.Options
	if !strings.HasPrefix(o.HealthCheckPath, "/") || strings.ContainsFunc(o.HealthCheckPath, IsControl) || len(o.HealthCheckPath) > 2048 {
		return Invalid("health check path %.64q is not a path; begin it with a slash, as in /up", r.HealthCheckPath)
	}
	if _, err := s.Targets[0].URL(o.HealthCheckPath); err != nil {
		return Invalid("health check path %.64q is not a valid URL path", r.HealthCheckPath)
	}
	if o.HealthCheckPort < 0 || o.HealthCheckPort > 65535 {
		return Invalid("health check port %d is not a port; a port is a number from 1 to 65535", r.HealthCheckPort)
	}
	// Unlike a route's host, this one is sent and not matched: a port in it is fine, and
	// its case is kept.
	if strings.ContainsAny(o.HealthCheckHost, "/?#@ \\") || strings.ContainsFunc(o.HealthCheckHost, IsControl) || len(o.HealthCheckHost) > 255 {
		return Invalid("health check host %.64q is not a host name", r.HealthCheckHost)
	}
	if len(r.HealthCheckHeaders) > MaxHealthCheckHeaders {
		return Invalid("a health check can have at most %d extra header fields", MaxHealthCheckHeaders)
	}
	for _, line := range r.HealthCheckHeaders {
		if _, _, err := ParseHeaderField(line); err != nil {
			return err
		}
	}
	o.HealthCheckHeaders = slices.Clone(r.HealthCheckHeaders)
	return nil
}

// ParseHeaderField returns the name and the value of "Name: value", or an [Error] with
// [CodeInvalid]. A name is a token (RFC 9110, section 5.1).
func ParseHeaderField(line string) (name, value string, err error) {
	name, value, ok := strings.Cut(line, ":")
	value = strings.TrimSpace(value)
	token := func(r rune) bool {
		return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	}
	if !ok || name == "" || strings.ContainsFunc(name, func(r rune) bool { return !token(r) }) ||
		strings.ContainsFunc(value, IsControl) || len(line) > 4096 {
		return "", "", Invalid("%.64q is not a header field; write it as 'Name: value'", line)
	}
	if strings.EqualFold(name, "Host") {
		return "", "", Invalid("the host of the health check has its own setting").WithHint("set %s", Field("health_check_host"))
	}
	return name, value, nil
}
