package proxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	timeout := d.spec.Options.DeployTimeout
	if d.status.From > 0 {
		timeout = min(timeout, rollbackTimeout)
	}
	ctx, cancel := context.WithTimeoutCause(d.ctx, time.Duration(timeout), errDeployTimeout)
	defer cancel()
	reports := r.UntilHealthy(ctx, healthy, d.probeFailed)
	if allHealthy(reports) {
		return reports, nil
	}
	if cause := context.Cause(ctx); !errors.Is(cause, errDeployTimeout) {
		return reports, cause
	}
	err := notHealthy(d.spec, timeout, reports)
	if d.status.From > 0 {
		err = err.With(goneHint(d.status.From))
	}
	return reports, err
}

var errDeployTimeout = errors.New("deploy timeout")

func allHealthy(reports []api.ProbeReport) bool {
	return !slices.ContainsFunc(reports, func(r api.ProbeReport) bool { return !r.Healthy })
}

// notHealthy explains a gate that did not open.
func notHealthy(s api.Spec, timeout api.Duration, reports []api.ProbeReport) *api.Error {
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
		Message: fmt.Sprintf("%s not healthy within %s", subject, timeout),
		Details: reports,
	}
	return err.With(healthHint(s, reports))
}

// rollbackTimeout bounds the gate of a rollback. What has served before and still runs
// answers at once, and what does not run is not coming.
const rollbackTimeout = api.Duration(2 * time.Second)

// goneHint explains a rollback whose targets are not healthy.
func goneHint(release int) api.Advice {
	return api.Advise("the instances of v%d no longer run, or are not healthy; start them again and deploy them", release)
}
