package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/transport"
)

// probeResult is the outcome of one probe. An empty reason means success.
type probeResult struct {
	reason string
	// kind stands for all reasons that differ in what was quoted from the answer only; empty
	// if nothing was.
	kind string
	// unreachable says that not even a connection came about, noHTTP that one did, and that
	// what came over it was no answer in HTTP.
	unreachable, noHTTP bool
	// status is that of the answer; 0 without one.
	status int
}

func (r probeResult) ok() bool { return r.reason == "" }

// sameAs reports whether two failures differ in nothing but what they quote.
func (r probeResult) sameAs(other probeResult) bool {
	return r.reason == other.reason || r.kind != "" && r.kind == other.kind
}

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

// probe asks once. It reads nothing from the environment and follows no
// redirect.
func (p *prober) probe(ctx context.Context) probeResult {
	ctx, cancel := context.WithTimeoutCause(ctx, p.timeout, errProbeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return probeResult{reason: api.Printable(err.Error())}
	}
	r := p.release
	req.Host, req.Header = p.host, r.probeFields(p.host)
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", r.forwarder.opts.UserAgent)
	}
	req.Header.Set(probeHeader, r.forwarder.probeID(r.Spec.Service))
	// A connection of its own for every probe: a pooled one would tell how the
	// target was, not how it is.
	req.Header.Set("Connection", "close")
	// The transport alone follows no redirect: that may lead to another app,
	// whose 200 would count for this one.
	tr := r.forwarder.newProbeTransport(p)
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		_, lookup := errors.AsType[*net.DNSError](err)
		if !lookup && context.Cause(ctx) == errProbeTimeout || isTimeout(err) && !isDialError(err) {
			return probeResult{reason: fmt.Sprintf("no answer within %s", p.timeout)}
		}
		return probeResult{reason: DialReason(err), unreachable: isDialError(err), noHTTP: !isDialError(err) && ctx.Err() == nil}
	}
	defer resp.Body.Close()
	if p.statuses.Contain(resp.StatusCode) {
		return p.readAnswer(ctx, resp)
	}
	// Read a little, so that an app that answers in full is not cut short.
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
	reason := statusText(resp)
	if resp.StatusCode >= 300 && resp.StatusCode <= 399 && resp.Header.Get("Location") != "" {
		reason = fmt.Sprintf("%d redirect to %s, which is not followed", resp.StatusCode, api.Printable(resp.Header.Get("Location")))
	}
	if wanted := p.statuses.String(); wanted != api.DefaultHealthCheckStatus {
		reason += ", expected " + wanted
	}
	return probeResult{reason: reason, status: resp.StatusCode}
}

func statusText(resp *http.Response) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode)))
}

var errProbeTimeout = errors.New("health check timed out")
