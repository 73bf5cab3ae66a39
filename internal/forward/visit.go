package forward

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// warmUpField tells an application that a request comes from the proxy, to warm it up.
const warmUpField = "X-Parachute-Warm-Up"

// maxVisit is how much of an answer to a visit is read, in bytes.
const maxVisit = 1 << 20

// Visit asks every target of r for each of the paths, as a visitor would, times over, and
// returns what the last answers were, by target and path. A request may take as long as a
// health check, the reading of its answer included. It follows no redirect. With warmUp, the
// application is told what the request is for.
func (r *Release) Visit(ctx context.Context, paths []string, times int, warmUp bool) (all []api.Visit) {
	for _, u := range r.upstreams {
		tr := newHTTPTransport(u.target, u.probeDialer(u.target).dial, r.targetTLS(u.target))
		for _, path := range paths {
			v := api.Visit{Target: u.target.String(), Path: path}
			for range times {
				r.visit(ctx, tr, u.target, &v, warmUp)
			}
			all = append(all, v)
		}
		tr.CloseIdleConnections()
	}
	return all
}

// visit asks a target once, and notes what has come of it.
func (r *Release) visit(ctx context.Context, tr http.RoundTripper, target api.Target, v *api.Visit, warmUp bool) {
	v.Status, v.Reason = 0, ""
	start := time.Now()
	defer func() { v.Elapsed = api.Since(start) }()
	timeout := time.Duration(r.Spec.Options.HealthCheckTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errProbeTimeout)
	defer cancel()
	u, err := target.URL(v.Path)
	if err != nil {
		v.Reason = api.Printable(err.Error())
		return
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		v.Reason = api.Printable(err.Error())
		return
	}
	req.Host = r.probeHost(target)
	req.Header = r.probeFields(req.Host)
	req.Header.Set("User-Agent", r.forwarder.opts.UserAgent)
	if warmUp {
		req.Header.Set(warmUpField, "1")
	}
	resp, err := tr.RoundTrip(req)
	switch {
	case err != nil && context.Cause(ctx) == errProbeTimeout:
		v.Reason = "no answer within " + timeout.String()
	case err != nil:
		v.Reason = DialReason(err)
	default:
		v.Status = resp.StatusCode
		if _, err := io.CopyN(io.Discard, resp.Body, maxVisit); err != nil && err != io.EOF {
			v.Reason = "the answer broke off"
		}
		resp.Body.Close()
	}
}
