package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// gate runs the gate of one target against answer and returns what it reports.
func gate(interval time.Duration, timeout time.Duration, answer func(context.Context) (int, error)) (api.ProbeReport, *fakeApp) {
	_, r := monitored(1)
	f := fakeProbes(r.upstreams[0], answer)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return r.upstreams[0].untilHealthy(ctx, interval, func(string, string) {}), f
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
			func(context.Context) (int, error) { return 0, &dialError{fmt.Errorf("x: %w", syscall.EHOSTUNREACH)} },
			well,
		}
		var told []string
		_, r := monitored(1)
		fakeProbes(r.upstreams[0], func(ctx context.Context) (int, error) {
			next := script[0]
			script = script[1:]
			return next(ctx)
		})
		report := r.upstreams[0].untilHealthy(t.Context(), time.Second, func(target, reason string) { told = append(told, target+": "+reason) })
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

// TestReportsAreBounded keeps an app that gives another reason each time from
// filling the memory.
func TestReportsAreBounded(t *testing.T) {
	var p api.ProbeReport
	for i := range 1000 {
		p.AddFailure(fmt.Sprint(i))
	}
	last := p.Failures[len(p.Failures)-1]
	if len(p.Failures) != api.MaxProbeFailures || last.Reason != "999" || last.Count != 1000-api.MaxProbeFailures+1 {
		t.Errorf("%d reasons, the last is %+v", len(p.Failures), last)
	}
}

// TestAnAppThatNeverAnswersIsToldAsSuch even if the deploy timeout is over before
// the first probe is.
func TestAnAppThatNeverAnswersIsToldAsSuch(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	silent := listen(t, "tcp", "127.0.0.1:0") // accepts, and says nothing
	req := api.DeployRequest{Targets: []string{silent.Addr().String()}, DeployTimeout: ms(100)}
	_, err := wait(t, e.start(req))
	wantCode(t, err, api.CodeNotHealthy)
	details := api.AsError(err).Details
	if len(details) != 1 || len(details[0].Failures) != 1 || !strings.Contains(details[0].Failures[0].Reason, "no answer within") {
		t.Errorf("details %+v, want the reason", details)
	}
	if !strings.Contains(api.AsError(err).Hint, "too slow") {
		t.Errorf("hint %q", api.AsError(err).Hint)
	}
}

func TestNotHealthySaysWhoAndWhy(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	sick := startApp(t, "sick")
	sick.health.Store(http.StatusNotFound)
	req := requestFor("app", sick, startApp(t, "well"))
	req.Targets = append(req.Targets, refusedAddress)
	req.DeployTimeout = ms(300)
	status, err := wait(t, e.start(req))
	wantCode(t, err, api.CodeNotHealthy)
	if err.Error() != "2 of 3 targets were not healthy within 300ms" {
		t.Errorf("message %q", err)
	}
	details := api.AsError(err).Details
	if len(details) != 3 || details[0].Failures[0].Reason != "404 Not Found" || !details[1].Healthy ||
		details[2].Failures[0].Reason != "connection refused" || details[0].URL != "http://"+sick.target+"/up" {
		t.Errorf("details %+v", details)
	}
	if len(status.Probes) != 3 {
		t.Errorf("the status has the probes of %d targets", len(status.Probes))
	}
}

func TestHintsFitTheLastFailure(t *testing.T) {
	for reason, want := range map[string]string{
		"connection refused": "nothing listens there",
		"no such socket":     "path of its socket",
		"tls: first record does not look like a TLS handshake": "leave https:// out",
		"http2: frame too large":                               "leave h2c:// out",
		"host name web-2 does not resolve":                     "same network",
		"302 redirect to /login, which is not followed":        "answers 200 itself",
		"404 Not Found":             "no such page",
		"400 Bad Request":           "--health-check-host",
		"421 Misdirected Request":   "--health-check-host",
		"no answer within 5s":       "too slow",
		"connecting timed out":      "firewall",
		"500 Internal Server Error": "see its log",
		"503 Service Unavailable":   "see its log",
	} {
		reports := []api.ProbeReport{{Healthy: true}, {Failures: []api.ProbeFailure{{Reason: "connection refused", Count: 1}, {Reason: reason, Count: 2}}}}
		if got := healthHint(reports); !strings.Contains(got, want) {
			t.Errorf("%s: hint %q, want it to say %q", reason, got, want)
		}
	}
}

func TestReadyAtTheLastMomentCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeployment(api.Spec{DeployTimeout: time.Second})
		_, r := monitored(1)
		start := time.Now()
		fakeProbes(r.upstreams[0], func(ctx context.Context) (int, error) {
			if time.Since(start) < 990*time.Millisecond {
				return dead(ctx)
			}
			return well(ctx)
		})
		r.options.HealthCheckInterval = api.Duration(30 * time.Millisecond)
		if _, err := d.passGate(r); err != nil {
			t.Errorf("the gate: %v", err)
		}
	})
}

func TestCancelledGateTellsTheCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeployment(api.Spec{DeployTimeout: time.Hour})
		_, r := monitored(1)
		fakeProbes(r.upstreams[0], sick)
		cause := errors.New("cause")
		time.AfterFunc(time.Minute, func() { d.abort(cause) })
		start := time.Now()
		if _, err := d.passGate(r); !errors.Is(err, cause) || time.Since(start) != time.Minute {
			t.Errorf("ended with %v after %s", err, time.Since(start))
		}
	})
}

// TestProxyIsNotItsOwnApp even while the release before it answers for it.
func TestProxyIsNotItsOwnApp(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.deploy(requestFor("app", startApp(t, "a")))
	for _, req := range []api.DeployRequest{
		{Service: "app"},
		{Service: "other", Hosts: []string{"other.test"}}, // whose probes app gets so far
		{Service: "other", Hosts: []string{"*.test"}},
		{Service: "other", PathPrefixes: []string{"/up"}},
	} {
		req.Targets, req.DeployTimeout = []string{strings.TrimPrefix(e.url, "http://")}, ms(2000)
		status, err := wait(t, e.start(req))
		wantCode(t, err, api.CodeNotHealthy)
		if e, _ := errors.AsType[*api.Error](err); !strings.Contains(e.Hint, "the proxy itself") {
			t.Errorf("%v: hint %q, probes %+v", req, e.Hint, status.Probes)
		}
	}
	if s, err := e.Service("app"); err != nil || s.Served != 0 {
		t.Errorf("%v, %d requests served, want none: probes that come back are not", err, s.Served)
	}
}

// TestProbesMayComeThroughAnotherService as they do if one is a gateway to the other,
// behind the same proxy.
func TestProbesMayComeThroughAnotherService(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	behind := requestFor("behind", startApp(t, "behind"))
	behind.Hosts = []string{"behind.test"}
	e.deploy(behind)
	e.deploy(requestFor("gateway", startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		onwards := e.request(http.MethodGet, "behind.test", r.URL.Path, nil)
		for name, values := range r.Header {
			onwards.Header[name] = values
		}
		status, _ := e.do(onwards)
		w.WriteHeader(status)
	})))
}
