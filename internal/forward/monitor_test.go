package forward

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/transport"
)

// fakeApp answers the probes of one upstream, without a network.
type fakeApp struct {
	mu sync.Mutex
	// answer returns the status, or an error.
	answer func(context.Context) (int, error)
	// at is when it was asked.
	at []time.Time
}

// fakeApps has the fakeApp of each upstream that is asked without a network.
var fakeApps sync.Map

func fakeProbes(u *upstream, answer func(context.Context) (int, error)) *fakeApp {
	f := &fakeApp{answer: answer}
	fakeApps.Store(u, f)
	return f
}

func (f *fakeApp) CloseIdleConnections() {}

func (f *fakeApp) Close() {}

func (f *fakeApp) Stats() transport.Stats { return transport.Stats{} }

func (f *fakeApp) RoundTrip(req *http.Request) (*http.Response, error) {
	f.mu.Lock()
	f.at = append(f.at, time.Now())
	answer := f.answer
	f.mu.Unlock()
	status, err := answer(req.Context())
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("")), Request: req}, nil
}

func (f *fakeApp) becomes(answer func(context.Context) (int, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// pauses returns the times between the probes.
func (f *fakeApp) pauses() (all []time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range len(f.at) - 1 {
		all = append(all, f.at[i+1].Sub(f.at[i]))
	}
	return all
}

func well(context.Context) (int, error) { return http.StatusOK, nil }

func sick(context.Context) (int, error) { return http.StatusServiceUnavailable, nil }

func dead(context.Context) (int, error) { return 0, &dialError{err: syscall.ECONNREFUSED} }

// newTestForwarder returns a forwarder that nobody listens to.
func newTestForwarder(configure ...func(*Options)) *Forwarder {
	o := Options{UserAgent: "parachute/test", HealthChanged: func(*Release, api.Target, api.Health, string) {}}
	for _, f := range configure {
		f(&o)
	}
	f := NewForwarder(o)
	f.newProbeTransport = func(p *prober) probeTransport {
		if app, fake := fakeApps.Load(p.upstream); fake {
			return app.(*fakeApp)
		}
		return newProbeTransport(p)
	}
	return f
}

// monitored returns a release with n targets.
func monitored(n int) *Release {
	req := api.DeployRequest{Targets: []string{"a:1", "b:1", "c:1"}[:n]}
	s, err := req.Resolve()
	if err != nil {
		panic(err)
	}
	return newTestForwarder().NewRelease(s)
}

func TestMonitorNoticesEveryChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := monitored(2)
		defer r.Close()
		app, other := fakeProbes(r.upstreams[0], well), fakeProbes(r.upstreams[1], well)
		state := func() api.Health {
			synctest.Wait()
			return r.upstreams[0].currentHealth().state
		}
		if got := state(); got != api.HealthUnverified {
			t.Errorf("before the first probe: %s", got)
		}
		r.StartMonitor(0)
		if got := state(); got != api.HealthHealthy {
			t.Errorf("after a good probe: %s", got)
		}
		app.becomes(sick)
		time.Sleep(time.Second)
		if got := state(); got != api.HealthHealthy {
			t.Errorf("after one bad probe: %s", got)
		}
		time.Sleep(2 * time.Second)
		if got := state(); got != api.HealthFailing {
			t.Errorf("after three bad probes: %s", got)
		}
		app.becomes(well)
		time.Sleep(time.Second)
		if got := state(); got != api.HealthHealthy {
			t.Errorf("after another good probe: %s", got)
		}
		app.becomes(dead)
		time.Sleep(time.Second)
		if got := state(); got != api.HealthFailing {
			t.Errorf("after a refused connection: %s", got)
		}
		for _, f := range []*fakeApp{app, other} {
			for _, p := range f.pauses() {
				if p < 900*time.Millisecond || p > time.Second {
					t.Errorf("pauses %v, want the interval less up to a tenth", f.pauses())
				}
			}
		}
	})
}

// A target without a sibling that stops to answer is to be seen as soon as one that has
// some, whatever its health changes.
func TestOnlyTargetIsAskedAsOftenAsItsIntervalSays(t *testing.T) {
	for name, answer := range map[string]func(context.Context) (int, error){"well": well, "sick": sick, "dead": dead} {
		synctest.Test(t, func(t *testing.T) {
			r := monitored(1)
			defer r.Close()
			app := fakeProbes(r.upstreams[0], answer)
			r.StartMonitor(time.Second)
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			for _, p := range app.pauses() {
				if p < 900*time.Millisecond || p > time.Second {
					t.Fatalf("%s: a pause of %s, want the interval less up to a tenth", name, p)
				}
			}
			if n := len(app.pauses()); n < 500 {
				t.Errorf("%s: %d pauses in ten minutes", name, n)
			}
		})
	}
}

// Ten thousand services that are asked every second would keep a proxy busy that has
// nothing to do, whether they are well or not. One that seems to fail is looked at closely.
func TestManyOnlyTargetsTakeTurns(t *testing.T) {
	for n, want := range map[int]time.Duration{50: time.Second, 1000: 10 * time.Second, 20_000: soloInterval} {
		const interval = time.Second
		for _, state := range []api.Health{api.HealthHealthy, api.HealthFailing, api.HealthUnverified} {
			if got := pauseAfter(health{state: state}, interval, n); got != want {
				t.Errorf("%d targets: a pause of %s when %s, want %s", n, got, state, want)
			}
		}
		if got := pauseAfter(health{state: api.HealthHealthy, failures: 1}, interval, n); got != interval {
			t.Errorf("%d targets: a pause of %s after a failure, want the interval", n, got)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		f := newTestForwarder()
		var releases []*Release
		for i := range 200 {
			req := api.DeployRequest{Targets: []string{"a:1", "b:1"}[:1+i%2]}
			s, err := req.Resolve()
			if err != nil {
				t.Fatal(err)
			}
			r := f.NewRelease(s)
			for _, u := range r.upstreams {
				fakeProbes(u, well)
			}
			releases = append(releases, r)
			r.StartMonitor(0)
		}
		if n := f.solo.Load(); n != 100 {
			t.Errorf("%d targets take turns, want 100", n)
		}
		for _, r := range releases {
			r.StopMonitor()
			r.Close()
		}
		if n := f.solo.Load(); n != 0 {
			t.Errorf("%d targets take turns when none is watched", n)
		}
	})
}

// TestFailureOfARequestHastensTheProbe that will take it back.
func TestFailureOfARequestHastensTheProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := monitored(1)
		defer r.Close()
		u, start := r.upstreams[0], time.Now()
		fakeProbes(u, well)
		r.StartMonitor(0)
		time.Sleep(time.Second)
		u.observe(probeResult{reason: "connection refused", unreachable: true}, time.Now())
		for range 10 { // however many fail
			u.monitor.hasten()
		}
		for u.failing() {
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(start); took > 2*time.Second+time.Millisecond {
			t.Errorf("the next probe comes after %s, want it within the interval", took)
		}
	})
}

// TestStoppedMonitorAsksNothing even if a probe is under way.
func TestStoppedMonitorAsksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := monitored(2)
		asked := make(chan struct{}, 10)
		for _, u := range r.upstreams {
			fakeProbes(u, func(ctx context.Context) (int, error) {
				asked <- struct{}{}
				<-ctx.Done() // it does not answer
				return 0, ctx.Err()
			})
		}
		r.StartMonitor(0)
		synctest.Wait()
		if len(asked) != 2 {
			t.Fatalf("%d probes are under way, want 2", len(asked))
		}
		start := time.Now()
		r.StopMonitor()
		if took := time.Since(start); took != 0 {
			t.Errorf("stopping takes %s, as long as the probe", took)
		}
		r.StartMonitor(0) // once stopped, it stays so
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(asked) != 2 {
			t.Errorf("%d probes, want none after the stop", len(asked)-2)
		}
		for _, u := range r.upstreams {
			if h := u.currentHealth(); h.state != api.HealthUnverified || h.failures != 0 {
				t.Errorf("a probe that was interrupted changes the health: %+v", h)
			}
		}
	})
}

// TestParallelProbesAreBounded keeps ten thousand services from probing at once
// after a start.
func TestParallelProbesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTestForwarder()
		var mu sync.Mutex
		var now, most, total int
		var releases []*Release
		for range 1000 {
			s, err := api.DeployRequest{Targets: []string{"web:3000"}}.Resolve()
			if err != nil {
				t.Fatal(err)
			}
			r := f.NewRelease(s)
			fakeProbes(r.upstreams[0], func(context.Context) (int, error) {
				mu.Lock()
				now++
				most, total = max(most, now), total+1
				mu.Unlock()
				time.Sleep(10 * time.Millisecond)
				mu.Lock()
				now--
				mu.Unlock()
				return http.StatusOK, nil
			})
			releases = append(releases, r)
			r.StartMonitor(0)
		}
		time.Sleep(time.Second)
		mu.Lock()
		if most != maxParallelProbes || total != 1000 {
			t.Errorf("%d probes, up to %d at a time, want 1000, %d", total, most, maxParallelProbes)
		}
		mu.Unlock()
		for _, r := range releases {
			r.Close()
		}
	})
}
