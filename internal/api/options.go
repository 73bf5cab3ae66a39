package api

import "time"

// Options are the settings that a release keeps for as long as it serves.
type Options struct {
	PathPrefixes        []string `json:"path_prefixes"`
	StripPathPrefix     bool     `json:"strip_path_prefix"`
	ScopeCookiePaths    bool     `json:"scope_cookie_paths,omitempty"`
	ForwardHeaders      bool     `json:"forward_headers,omitempty"`
	ClientIPHeader      string   `json:"client_ip_header,omitempty"`
	HealthCheckPath     string   `json:"health_check_path"`
	HealthCheckPort     int      `json:"health_check_port,omitempty"`
	HealthCheckHost     string   `json:"health_check_host,omitempty"`
	HealthCheckHeaders  []string `json:"health_check_headers,omitempty"`
	HealthCheckStatus   string   `json:"health_check_status"`
	HealthCheckBody     string   `json:"health_check_body,omitempty"`
	HealthCheckInterval Duration `json:"health_check_interval"`
	HealthCheckTimeout  Duration `json:"health_check_timeout"`
	Warm                []string `json:"warm,omitempty"`
	WarmRequests        int      `json:"warm_requests"`
	Smoke               []string `json:"smoke,omitempty"`
	DeployTimeout       Duration `json:"deploy_timeout"`
	DrainTimeout        Duration `json:"drain_timeout"`
	StreamTimeout       Duration `json:"stream_timeout"`
	TargetTimeout       Duration `json:"target_timeout"`
	HoldTimeout         Duration `json:"hold_timeout"`

	MaxBody         Size `json:"max_body,omitempty"`
	BufferRequests  bool `json:"buffer_requests,omitempty"`
	MaxResponseBody Size `json:"max_response_body,omitempty"`
	BufferResponses bool `json:"buffer_responses,omitempty"`
	BufferMemory    Size `json:"buffer_memory"`

	TargetCA         string `json:"target_ca,omitempty"`
	TargetServerName string `json:"target_server_name,omitempty"`
	TargetInsecure   bool   `json:"target_insecure,omitempty"`

	ErrorPages      string `json:"error_pages,omitempty"`
	InterceptErrors string `json:"intercept_errors,omitempty"`

	LogRequestHeaders   []string `json:"log_request_headers,omitempty"`
	LogResponseHeaders  []string `json:"log_response_headers,omitempty"`
	ExcludeMetricsPaths []string `json:"exclude_metrics_paths,omitempty"`

	LB             LoadBalancing `json:"lb"`
	Sticky         bool          `json:"sticky,omitempty"`
	StickySameSite SameSite      `json:"sticky_same_site,omitempty"`

	WriterAffinity       Duration `json:"writer_affinity"`
	ReadTargetWebSockets bool     `json:"read_target_websockets,omitempty"`

	BeforeSwitch string `json:"before_switch,omitempty"`

	Headers            []string `json:"headers,omitempty"`
	HSTS               string   `json:"hsts,omitempty"`
	DenyIP             []string `json:"deny_ip,omitempty"`
	AllowIP            []string `json:"allow_ip,omitempty"`
	Redirects          []string `json:"redirects,omitempty"`
	RateLimit          string   `json:"rate_limit,omitempty"`
	BasicAuth          []string `json:"basic_auth,omitempty"`
	ForwardAuth        string   `json:"forward_auth,omitempty"`
	ForwardAuthHeaders []string `json:"forward_auth_headers,omitempty"`
	Compress           bool     `json:"compress,omitempty"`
	Rewrites           []string `json:"rewrites,omitempty"`
	With               string   `json:"with,omitempty" text:"lines"`

	// TLS is nil without HTTPS.
	TLS           *TLSOptions `json:"tls,omitempty"`
	CanonicalHost string      `json:"canonical_host,omitempty"`

	ClientCA   string     `json:"client_ca,omitempty" text:"lines"`
	ClientAuth ClientAuth `json:"client_auth,omitempty"`
}

// Drain returns the limits of a drain.
func (o *Options) Drain() DrainLimits {
	return DrainLimits{Requests: time.Duration(o.DrainTimeout), Streams: time.Duration(o.StreamTimeout)}
}
