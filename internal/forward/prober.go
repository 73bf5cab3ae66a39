package forward

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/transport"
)

// prober asks one target whether it is ready.
type prober struct {
	upstream *upstream
	// release is the one that the target is asked for.
	release *Release
	// target is what is asked, and dial connects to it.
	target api.Target
	dial   func(context.Context) (net.Conn, error)
	url    string
	host   string
	// statuses are those of a target that is ready, and body is what its answer contains.
	statuses api.StatusRanges
	body     string
	timeout  time.Duration
}

// probeTransport carries a probe. [http.Transport] is one.
type probeTransport interface {
	http.RoundTripper
	CloseIdleConnections()
}

// newProbeTransport returns the transport of one probe. Keeping it would be of no use.
func newProbeTransport(p *prober) probeTransport {
	if p.target.Scheme == "http" {
		return &transport.Transport{Dial: p.dial, ResponseHeaderTimeout: p.timeout}
	}
	tr := newHTTPTransport(p.target, p.dial, p.release.targetTLS(p.target))
	tr.DisableKeepAlives = true
	return tr
}

// prober returns what asks the target, for the newest of the releases that have it. All of
// them ask alike.
func (u *upstream) prober() *prober {
	r := u.monitor.release()
	o := &r.Spec.Options
	checked := u.target.WithPort(o.HealthCheckPort)
	p := &prober{
		upstream: u,
		release:  r,
		target:   checked,
		dial:     u.probeDialer(checked).dial,
		host:     r.probeHost(checked),
		body:     o.HealthCheckBody,
		timeout:  time.Duration(o.HealthCheckTimeout),
	}
	// They were checked when the request was validated, as was the path.
	p.statuses, _ = api.ParseStatusRanges(o.HealthCheckStatus)
	if u, err := checked.URL(o.HealthCheckPath); err == nil {
		p.url = u.String()
	}
	return p
}

// probeFields returns the header fields of a probe besides those that every one has. Where
// visitors come by HTTPS, an application that insists on it is asked as they ask: it would
// answer a probe with a redirect otherwise.
func (r *Release) probeFields(host string) http.Header {
	o, h := &r.Spec.Options, make(http.Header)
	if o.TLS != nil {
		h.Set("X-Forwarded-Proto", "https")
		h.Set("X-Forwarded-Host", host)
	}
	for _, line := range o.HealthCheckHeaders {
		// It was checked when the request was validated.
		if name, value, err := api.ParseHeaderField(line); err == nil {
			h.Set(name, value)
		}
	}
	return h
}

// probeHost returns the Host header for probes: apps that check it should see
// one that is theirs.
func (r *Release) probeHost(t api.Target) string {
	if host := r.Spec.Options.HealthCheckHost; host != "" {
		return host
	}
	hosts := r.Spec.Hosts
	for _, h := range hosts {
		if !api.IsWildcard(h) {
			return h
		}
	}
	if len(hosts) > 0 {
		return "health-check" + strings.TrimPrefix(hosts[0], "*")
	}
	return t.HostHeader()
}

var errProbeTimeout = errors.New("health check timed out")
