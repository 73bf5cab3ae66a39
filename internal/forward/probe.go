package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/parachute-proxy/parachute/internal/api"
)

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
