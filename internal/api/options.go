package api

import (
	"cmp"
	"fmt"
	"strings"
)

// Options are the settings that a release keeps for as long as it serves.
type Options struct {
	PathPrefixes        []string `json:"path_prefixes"`
	StripPathPrefix     bool     `json:"strip_path_prefix"`
	HealthCheckPath     string   `json:"health_check_path"`
	HealthCheckPort     int      `json:"health_check_port,omitempty"`
	HealthCheckHost     string   `json:"health_check_host,omitempty"`
	HealthCheckInterval Duration `json:"health_check_interval"`
	HealthCheckTimeout  Duration `json:"health_check_timeout"`
	TargetTimeout       Duration `json:"target_timeout"`
	HoldTimeout         Duration `json:"hold_timeout"`

	LB     LoadBalancing `json:"lb"`
	Sticky bool          `json:"sticky,omitempty"`

	// TLS is nil without HTTPS.
	TLS           *TLSOptions `json:"tls,omitempty"`
	CanonicalHost string      `json:"canonical_host,omitempty"`
}

// Changes describes, for people, what differs between the hosts and settings of two
// releases, each as "name: old -> new". Targets always differ and are left out.
func Changes(oldHosts []string, a Options, nextHosts []string, b Options) []string {
	var all []string
	note := func(name string, from, to any) {
		if f, t := fmt.Sprint(from), fmt.Sprint(to); f != t {
			all = append(all, fmt.Sprintf("%s: %s -> %s", name, f, t))
		}
	}
	list := func(values []string) string { return cmp.Or(strings.Join(values, ","), "any") }
	note("host", list(oldHosts), list(nextHosts))
	note("path-prefix", list(a.PathPrefixes), list(b.PathPrefixes))
	note("strip-path-prefix", a.StripPathPrefix, b.StripPathPrefix)
	note("health-check-path", a.HealthCheckPath, b.HealthCheckPath)
	note("health-check-port", a.HealthCheckPort, b.HealthCheckPort)
	note("health-check-host", cmp.Or(a.HealthCheckHost, "default"), cmp.Or(b.HealthCheckHost, "default"))
	note("health-check-interval", a.HealthCheckInterval, b.HealthCheckInterval)
	note("health-check-timeout", a.HealthCheckTimeout, b.HealthCheckTimeout)
	note("target-timeout", a.TargetTimeout, b.TargetTimeout)
	note("hold-timeout", a.HoldTimeout, b.HoldTimeout)
	note("lb", a.LB, b.LB)
	note("sticky", a.Sticky, b.Sticky)
	note("tls", a.TLS, b.TLS)
	if a.TLS != nil && b.TLS != nil {
		note("tls-redirect", a.TLS.Redirect, b.TLS.Redirect)
		note("tls-on-demand-url", cmp.Or(a.TLS.OnDemandURL, "none"), cmp.Or(b.TLS.OnDemandURL, "none"))
	}
	note("canonical-host", cmp.Or(a.CanonicalHost, "none"), cmp.Or(b.CanonicalHost, "none"))
	return all
}
