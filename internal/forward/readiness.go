package forward

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// UntilHealthy probes the targets of r, side by side, each until it is healthy or ctx
// ends. healthy is called for each that is, failed for each new reason why one is not, and
// once more if that lasts; both may be called at the same time for several targets.
func (r *Release) UntilHealthy(ctx context.Context, healthy func(api.ProbeReport), failed FailedFunc) []api.ProbeReport {
	reports := make([]api.ProbeReport, len(r.upstreams))
	var probes sync.WaitGroup
	for i, u := range r.upstreams {
		probes.Go(func() {
			reports[i] = u.untilHealthy(ctx, time.Duration(r.Spec.Options.HealthCheckInterval), failed)
			if reports[i].Healthy {
				healthy(reports[i])
			}
		})
	}
	probes.Wait()
	return reports
}

// FailedFunc is told why a target is not healthy: at once, and again, with lasting, when
// probes have failed for the same reason for a second.
type FailedFunc func(target, reason string, lasting bool)

// lastingAfter is how long probes fail for the same reason until it is a lasting one.
const lastingAfter = time.Second

// gatePause is the pause between two probes of a target that is booting. It
// bounds how long readiness can go unnoticed.
const gatePause = 50 * time.Millisecond

// untilHealthy probes u until it is healthy or ctx ends. A target that does not
// accept connections costs nothing to ask, so it is asked every 50ms; one that
// answers, though not well, is asked less and less often, so that the checks
// never delay a switch by more than a twentieth of the boot time.
func (u *upstream) untilHealthy(ctx context.Context, interval time.Duration, failed FailedFunc) api.ProbeReport {
	asks := u.prober()
	report := api.ProbeReport{Target: u.target.String(), URL: asks.url}
	start := time.Now()
	var last probeResult
	var found identification
	since, lasting := start, false
	for {
		began := time.Now()
		result := asks.probe(ctx)
		if !result.ok() && over(ctx) {
			// The probe was interrupted: its failure says nothing, but that there
			// was no other says that the target is slow.
			if report.Probes == 0 {
				report.Probes = 1
				report.AddFailure(fmt.Sprintf("no answer within %s", time.Since(start).Round(time.Millisecond)))
			}
			break
		}
		report.Probes++
		if result.ok() {
			u.observe(result, began)
			report.Healthy = true
			break
		}
		result = asks.explain(ctx, result, &found)
		if result.sameAs(last) {
			report.RepeatFailure(result.reason)
			if !lasting && time.Since(since) >= lastingAfter {
				lasting = true
				failed(report.Target, result.reason, true)
			}
		} else {
			since, lasting = began, false
			report.AddFailure(result.reason)
			if n := len(report.Failures); report.Failures[n-1].Count == 1 {
				failed(report.Target, result.reason, false)
			}
		}
		last = result
		pause := gatePause
		if !result.unreachable {
			pause = max(pause, time.Since(start)/20)
		}
		if !sleep(ctx, min(pause, interval)) {
			break
		}
	}
	report.Elapsed = api.Since(start)
	return report
}

// over reports whether ctx has ended. A connection that is being made until ctx's
// deadline may have noticed it an instant earlier.
func over(ctx context.Context) bool {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		<-ctx.Done()
	}
	return ctx.Err() != nil
}

// sleep waits for d, or until ctx ends, in which case it returns false.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
