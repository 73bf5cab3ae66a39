package forward

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// gate runs the gate of one target against answer and returns what it reports.
func gate(interval time.Duration, timeout time.Duration, answer func(context.Context) (int, error)) (api.ProbeReport, *fakeApp) {
	r := monitored(1)
	f := fakeProbes(r.upstreams[0], answer)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return r.upstreams[0].untilHealthy(ctx, interval, func(string, string, bool) {}), f
}

// TestReadinessIsNoticedAtOnce is about an app that does not listen while it boots.
func TestReadinessIsNoticedAtOnce(t *testing.T) {
	for _, boot := range []time.Duration{0, 10 * time.Millisecond, 333 * time.Millisecond, 4321 * time.Millisecond, 25 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			report, _ := gate(time.Second, 30*time.Second, func(ctx context.Context) (int, error) {
				if time.Since(start) < boot {
					return dead(ctx)
				}
				return well(ctx)
			})
			if late := time.Since(start) - boot; !report.Healthy || late > gatePause {
				t.Errorf("ready after %s: noticed %s later, %+v", boot, late, report)
			}
		})
	}
}

// TestAnAppThatAnswersIsAskedLessAndLess but never so little that the switch comes
// more than a twentieth of the boot time late, or the interval.
func TestAnAppThatAnswersIsAskedLessAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		report, f := gate(time.Second, 60*time.Second, sick)
		pauses, elapsed := f.pauses(), time.Duration(0)
		for i, p := range pauses {
			if want := min(max(gatePause, elapsed/20), time.Second); p != want {
				t.Errorf("pause %d, after %s, is %s, want %s", i, elapsed, p, want)
			}
			elapsed += p
		}
		if first, last := pauses[0], pauses[len(pauses)-1]; first != 50*time.Millisecond || last != time.Second {
			t.Errorf("the pauses grow from %s to %s, want from 50ms to the interval", first, last)
		}
		if report.Healthy || report.Probes != len(f.at) || len(report.Failures) != 1 || report.Failures[0].Count != report.Probes {
			t.Errorf("report %+v, want %d failures for one reason", report, len(f.at))
		}
	})
	synctest.Test(t, func(t *testing.T) { // a shorter interval is obeyed
		_, f := gate(20*time.Millisecond, time.Second, dead)
		for _, p := range f.pauses() {
			if p != 20*time.Millisecond {
				t.Fatalf("pauses %v, want the interval", f.pauses())
			}
		}
	})
}

func TestFailuresAreCountedInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := []func(context.Context) (int, error){
			dead, dead, dead,
			func(context.Context) (int, error) { return 500, nil },
			func(context.Context) (int, error) { return 500, nil },
			func(context.Context) (int, error) { return 404, nil },
			func(context.Context) (int, error) { return 500, nil },
			func(context.Context) (int, error) {
				return 0, &dialError{err: fmt.Errorf("x: %w", syscall.EHOSTUNREACH)}
			},
			well,
		}
		var told []string
		r := monitored(1)
		fakeProbes(r.upstreams[0], func(ctx context.Context) (int, error) {
			next := script[0]
			script = script[1:]
			return next(ctx)
		})
		report := r.upstreams[0].untilHealthy(t.Context(), time.Second, func(target, reason string, _ bool) { told = append(told, target+": "+reason) })
		want := []api.ProbeFailure{
			{Reason: "connection refused", Count: 3},
			{Reason: "500 Internal Server Error", Count: 2},
			{Reason: "404 Not Found", Count: 1},
			{Reason: "500 Internal Server Error", Count: 1},
			{Reason: "no route to host", Count: 1},
		}
		if fmt.Sprint(report.Failures) != fmt.Sprint(want) || !report.Healthy || report.Probes != 9 {
			t.Errorf("report %+v, want %v", report, want)
		}
		if len(told) != len(want) || told[0] != "a:1: connection refused" {
			t.Errorf("told %q, want each reason when it is new", told)
		}
	})
}

// A target that is ready just before ctx ends is healthy.
func TestReadyAtTheLastMomentCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := monitored(1)
		start := time.Now()
		fakeProbes(r.upstreams[0], func(ctx context.Context) (int, error) {
			if time.Since(start) < 990*time.Millisecond {
				return dead(ctx)
			}
			return well(ctx)
		})
		r.Spec.Options.HealthCheckInterval = api.Duration(30 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		reports := r.UntilHealthy(ctx, func(api.ProbeReport) {}, func(string, string, bool) {})
		if !reports[0].Healthy {
			t.Errorf("the gate: %+v", reports[0])
		}
	})
}

// TestLastingFailuresAreToldAgain once, when probes have failed for the same reason for a
// second.
func TestLastingFailuresAreToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r := monitored(1)
		fakeProbes(r.upstreams[0], func(context.Context) (int, error) {
			switch since := time.Since(start); {
			case since < 900*time.Millisecond:
				return 503, nil
			case since < 5*time.Second:
				return 404, nil
			}
			return 200, nil
		})
		type told struct {
			reason  string
			lasting bool
			at      time.Duration
		}
		var all []told
		r.upstreams[0].untilHealthy(t.Context(), time.Second, func(_, reason string, lasting bool) {
			all = append(all, told{reason, lasting, time.Since(start)})
		})
		if len(all) != 3 || all[0].lasting || all[1].lasting || !all[2].lasting || all[2].reason != "404 Not Found" {
			t.Fatalf("told %+v", all)
		}
		if lasted := all[2].at - all[1].at; lasted < time.Second || lasted > 1200*time.Millisecond {
			t.Errorf("told after %s, want a second: %+v", lasted, all)
		}
	})
}
