package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// passGate probes every target of a release until all are healthy, the deploy
// timeout is over or the deployment is ended. seen is when the first of them was
// healthy.
func (d *Deployment) passGate(r *release) (seen time.Time, err error) {
	d.enter(api.StateProbing)
	start := time.Now()
	reports, err := d.probeAll(r, d.targetHealthy)
	d.setProbes(reports)
	if err != nil {
		return time.Time{}, err
	}
	d.enter(api.StateHealthy)
	seen = time.Now()
	for _, report := range reports {
		if at := start.Add(time.Duration(report.Elapsed)); at.Before(seen) {
			seen = at
		}
	}
	return seen, nil
}

// confirmGate passes the gate once more if a target was seen healthy too long ago:
// another may have taken its time since, and certificates can take minutes.
func (d *Deployment) confirmGate(r *release, seen time.Time) error {
	if time.Since(seen) < time.Duration(r.Spec.Options.HealthCheckInterval) {
		return nil
	}
	reports, err := d.probeAll(r, func(api.ProbeReport) {})
	if api.ErrorCode(err) == api.CodeNotHealthy { // not if it was interrupted
		d.setProbes(reports)
	}
	return err
}

// probeAll probes the targets of a release, side by side, until all are healthy, and
// tells of each that is.
func (d *Deployment) probeAll(r *release, healthy func(api.ProbeReport)) ([]api.ProbeReport, error) {
	ctx, cancel := context.WithTimeoutCause(d.ctx, time.Duration(d.spec.Options.DeployTimeout), errDeployTimeout)
	defer cancel()
	reports := r.UntilHealthy(ctx, healthy, d.probeFailed)
	if allHealthy(reports) {
		return reports, nil
	}
	if cause := context.Cause(ctx); !errors.Is(cause, errDeployTimeout) {
		return reports, cause
	}
	return reports, notHealthy(d.spec, reports)
}

var errDeployTimeout = errors.New("deploy timeout")

func allHealthy(reports []api.ProbeReport) bool {
	return !slices.ContainsFunc(reports, func(r api.ProbeReport) bool { return !r.Healthy })
}

// notHealthy explains a gate that did not open.
func notHealthy(s api.Spec, reports []api.ProbeReport) *api.Error {
	var failing []string
	for _, r := range reports {
		if !r.Healthy {
			failing = append(failing, r.Target)
		}
	}
	subject := failing[0] + " was"
	if len(failing) > 1 {
		subject = fmt.Sprintf("%d of %d targets were", len(failing), len(reports))
	}
	err := &api.Error{
		Code:    api.CodeNotHealthy,
		Message: fmt.Sprintf("%s not healthy within %s", subject, s.Options.DeployTimeout),
		Details: reports,
	}
	return err.With(healthHint(s, reports))
}

// healthHint says what the last failure of a target suggests.
func healthHint(s api.Spec, reports []api.ProbeReport) api.Advice {
	for _, r := range reports {
		if r.Healthy || len(r.Failures) == 0 {
			continue
		}
		last := r.Failures[len(r.Failures)-1].Reason
		switch {
		case last == "no such socket":
			return api.Advise("check that the app is running, and the path of its socket")
		case last == "connection refused" && isLoopback(r.Target):
			return api.Advise("nothing listens there: check that the app is running, and that it listens on this port; if the proxy runs in a container, %s is that container: name the app's container", r.Target)
		case last == "connection refused":
			return api.Advise("nothing listens there: check that the app is running, and that it listens on this port and on an address that the proxy reaches")
		case strings.Contains(last, "does not look like a TLS handshake"):
			return api.Advise("the app does not speak TLS; leave https:// out")
		case strings.Contains(last, "http2: frame too large"):
			return api.Advise("the app does not speak HTTP/2; leave h2c:// out")
		case strings.Contains(last, "does not resolve"):
			return api.Advise("check the name, and that the proxy is in the same network as the app")
		case strings.Contains(last, "redirect"):
			if s.Options.TLS == nil && strings.Contains(last, "https://") {
				return api.Advise("the app insists on HTTPS: deploy it with TLS, or, if another proxy ends TLS, ask with %s",
					api.Field("health_check_headers").Is("'X-Forwarded-Proto: https'"))
			}
			return api.Advise("point %s at a page that answers 200 itself", api.Field("health_check_path"))
		case strings.Contains(last, " in the answer"), strings.Contains(last, " that contains "):
			return api.Advise("the app is up but its page is not what was expected; see %s and %s", api.Field("health_check_body"), api.Field("health_check_path"))
		case strings.HasPrefix(last, "2") && strings.Contains(last, ", expected "):
			return api.Advise("the app is up; say in %s which statuses are healthy", api.Field("health_check_status"))
		case strings.HasPrefix(last, "404 "):
			return api.Advise("the app is up but has no such page; set %s", api.Field("health_check_path"))
		case strings.HasPrefix(last, "508 "):
			return api.Advise("this may be the address of the proxy itself; name the address of the app")
		case strings.HasPrefix(last, "400 "), strings.HasPrefix(last, "403 "), strings.HasPrefix(last, "421 "):
			return refusedHostHint(s)
		case strings.Contains(last, "no answer within"), strings.Contains(last, "timed out"):
			return api.Advise("the app is too slow or a firewall drops the packets; see %s and %s", api.Field("health_check_timeout"), api.Field("deploy_timeout"))
		}
	}
	return api.Advise("the app is up but its health check fails; see its log, or set %s", api.Field("health_check_path"))
}

// refusedHostHint says what to do about an application that may refuse the Host header.
func refusedHostHint(s api.Spec) api.Advice {
	switch {
	case s.Options.HealthCheckHost != "":
		return api.Advise("the app may refuse the host that it is checked with; see %s", api.Field("health_check_host"))
	case len(s.Hosts) > 0:
		return api.Advise("the app may refuse the host that visitors send: allow %s in the app's settings", s.Hosts[0])
	}
	return api.Advise("the app may refuse the Host header, which is the address of the target; name its %s, or set %s",
		api.Field("hosts"), api.Field("health_check_host"))
}

// isLoopback reports whether a target is on the machine, or in the container, of the proxy.
func isLoopback(target string) bool {
	host, _, err := net.SplitHostPort(target)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}
