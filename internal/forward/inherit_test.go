package forward

import (
	"context"
	"net/http"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// releaseOf returns a release of f with the given targets, whose probes are answered well.
func releaseOf(t testing.TB, f *Forwarder, targets ...string) *Release {
	t.Helper()
	s, err := api.DeployRequest{Targets: targets}.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	r := f.NewRelease(s)
	for _, u := range r.upstreams {
		fakeProbes(u, well)
	}
	return r
}

// TestEveryOptionCountsForATargetThatStays but those that are known to have nothing to do
// with it. A new one counts until somebody has thought about it.
func TestEveryOptionCountsForATargetThatStays(t *testing.T) {
	doesNotCount := map[string]bool{
		"PathPrefixes": true, "StripPathPrefix": true, "HoldTimeout": true, "DrainTimeout": true, "StreamTimeout": true, "DeployTimeout": true,
		"Warm": true, "WarmRequests": true, "Smoke": true, "BeforeSwitch": true, "LB": true, "Sticky": true, "StickySameSite": true,
		"WriterAffinity": true, "ReadTargetWebSockets": true,
		"CanonicalHost": true, "ScopeCookiePaths": true, "ForwardHeaders": true, "ClientIPHeader": true,
		"LogRequestHeaders": true, "LogResponseHeaders": true, "ExcludeMetricsPaths": true,
		"ErrorPages": true, "InterceptErrors": true,
		"MaxBody": true, "BufferRequests": true, "MaxResponseBody": true, "BufferResponses": true, "BufferMemory": true,
		// What follows from them counts: see upstream.stays.
		"HealthCheckHeaders": true, "HealthCheckHost": true, "TLS": true,
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[api.Options]()) {
		var a, b api.Spec
		changed := reflect.ValueOf(&b.Options).Elem().FieldByIndex(field.Index)
		switch changed.Kind() {
		case reflect.Slice:
			changed.Set(reflect.MakeSlice(field.Type, 1, 1))
		case reflect.Pointer:
			changed.Set(reflect.New(field.Type.Elem()))
		case reflect.Bool:
			changed.SetBool(true)
		case reflect.String:
			changed.SetString("x")
		default:
			changed.SetInt(1)
		}
		if got := reachedAlike(&a, &b); got != doesNotCount[field.Name] {
			t.Errorf("with another %s, targets are reached alike: %t", field.Name, got)
		}
	}
	if reachedAlike(&api.Spec{TargetCA: "one"}, &api.Spec{TargetCA: "other"}) {
		t.Error("with another content of the target's authorities, targets are reached alike")
	}
}

// TestOtherProbesShareNothing though the options that they follow from do not count.
func TestOtherProbesShareNothing(t *testing.T) {
	resolve := func(change func(*api.DeployRequest)) api.Spec {
		req := api.DeployRequest{Service: "app", Targets: []string{"web:3000"}, Hosts: []string{"a.test", "b.test"}}
		change(&req)
		s, err := req.Resolve()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	same := func(*api.DeployRequest) {}
	for name, tt := range map[string]struct {
		change func(*api.DeployRequest)
		stays  bool
	}{
		"nothing":            {same, true},
		"another host":       {func(r *api.DeployRequest) { r.Hosts = []string{"a.test"} }, true},
		"another first host": {func(r *api.DeployRequest) { r.Hosts = []string{"b.test", "a.test"} }, false},
		"the same host":      {func(r *api.DeployRequest) { r.Hosts, r.HealthCheckHost = []string{"c.test"}, "a.test" }, true},
		"TLS":                {func(r *api.DeployRequest) { r.TLS = new(api.TLSRequest) }, false},
		"a header":           {func(r *api.DeployRequest) { r.HealthCheckHeaders = []string{"X-Probe: 1"} }, false},
		"another service":    {func(r *api.DeployRequest) { r.Service = "other" }, false},
		"another scheme":     {func(r *api.DeployRequest) { r.Targets = []string{"h2c://web:3000"} }, false},
	} {
		f := newTestForwarder()
		old, next := f.NewRelease(resolve(same)), f.NewRelease(resolve(tt.change))
		own := next.upstreams[0]
		next.Inherit(old)
		if got := next.upstreams[0] == old.upstreams[0]; got != tt.stays {
			t.Errorf("%s: the target stays: %t", name, got)
		}
		if gone := own.alive.Err() != nil; gone != tt.stays {
			t.Errorf("%s: what the release had of its own is given up: %t", name, gone)
		}
		old.Close()
		if alive := next.upstreams[0].alive.Err() == nil; !alive {
			t.Errorf("%s: the target of the new release ends with the old one", name)
		}
		next.Close()
		if next.upstreams[0].alive.Err() == nil {
			t.Errorf("%s: the target outlives its releases", name)
		}
	}
}

// TestWatchOfATargetThatStaysHasNoGap and tells of the newest release.
func TestWatchOfATargetThatStaysHasNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type news struct {
			release int
			health  api.Health
		}
		told := make(chan news, 100)
		f := newTestForwarder(func(o *Options) {
			o.HealthChanged = func(r *Release, _ api.Target, h api.Health, _ string) { told <- news{r.Version, h} }
		})
		first := releaseOf(t, f, "a:1", "b:1")
		first.Version = 1
		app := fakeProbes(first.upstreams[0], well)
		first.StartMonitor(time.Second)
		time.Sleep(10 * time.Second)
		// Releases come and go faster than probes.
		current := first
		for version := 2; version <= 40; version++ {
			next := releaseOf(t, f, "a:1", "b:1", "c:1")
			next.Version = version
			next.Inherit(current)
			next.StartMonitor(time.Second)
			current.StopMonitor()
			current.Close()
			current = next
			time.Sleep(300 * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for _, p := range app.pauses() {
			if p < 900*time.Millisecond || p > time.Second {
				t.Fatalf("a pause of %s, want the interval less up to a tenth", p)
			}
		}
		if n := len(app.pauses()); n < 30 {
			t.Errorf("%d pauses in 30s", n)
		}
		for len(told) > 0 {
			<-told
		}
		app.becomes(dead)
		time.Sleep(time.Second)
		synctest.Wait()
		if got := <-told; got != (news{40, api.HealthFailing}) || len(told) > 0 {
			t.Errorf("told %+v and %d more, want that v40 fails", got, len(told))
		}
		asked := len(app.pauses())
		current.Close()
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := len(app.pauses()); got != asked {
			t.Errorf("%d probes after the last release has ended", got-asked)
		}
	}) // which fails if a goroutine is left
}

// TestTargetTakesTurnsForAsLongAsItIsAlone over releases.
func TestTargetTakesTurnsForAsLongAsItIsAlone(t *testing.T) {
	f := newTestForwarder()
	var current *Release
	for i, targets := range [][]string{{"a:1"}, {"a:1", "b:1"}, {"b:1"}, {"a:1"}, {"a:1"}} {
		next := releaseOf(t, f, targets...)
		if current != nil {
			next.Inherit(current)
		}
		next.StartMonitor(time.Hour)
		if current != nil {
			current.Close()
		}
		current = next
		if got, want := f.solo.Load(), int64(2-len(targets)); got != want {
			t.Errorf("with release %d, %d targets take turns, want %d", i+1, got, want)
		}
	}
	current.Close()
	if n := f.solo.Load(); n != 0 {
		t.Errorf("%d targets take turns when none is watched", n)
	}
}

// TestWatchOfATargetThatGetsASiblingDoesNotWaitForItsTurn which may be a minute away.
func TestWatchOfATargetThatGetsASiblingDoesNotWaitForItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTestForwarder()
		f.solo.Add(100_000)
		alone := releaseOf(t, f, "a:1")
		app := fakeProbes(alone.upstreams[0], well)
		alone.StartMonitor(0)
		time.Sleep(time.Second)
		pair := releaseOf(t, f, "a:1", "b:1")
		pair.Inherit(alone)
		pair.StartMonitor(time.Second)
		alone.Close()
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(app.pauses()); n != 1 {
			t.Errorf("%d probes in the second after the deploy, want 1", n)
		}
		pair.Close()
	})
}

// TestGateSpeaksForATargetThatStays unless it is outdated by what the watch has seen since.
func TestGateSpeaksForATargetThatStays(t *testing.T) {
	refused := probeResult{reason: "connection refused", unreachable: true}
	for name, tt := range map[string]struct {
		kept, gate time.Duration // when each was asked; 0 is never
		want       api.Health
		recovered  int
	}{
		"asked since":        {1, 2, api.HealthHealthy, 1},
		"outdated":           {2, 1, api.HealthFailing, 0},
		"forced":             {1, 0, api.HealthFailing, 0},
		"nothing known":      {0, 1, api.HealthHealthy, 0},
		"nothing known, yet": {0, 0, api.HealthUnverified, 0},
	} {
		f, start := newTestForwarder(), time.Now()
		old, next := releaseOf(t, f, "a:1"), releaseOf(t, f, "a:1")
		if tt.kept > 0 {
			old.upstreams[0].observe(refused, start.Add(tt.kept))
		}
		if tt.gate > 0 {
			next.upstreams[0].observe(probeResult{}, start.Add(tt.gate))
		}
		recovered := next.Inherit(old)
		if got := next.upstreams[0].currentHealth().state; got != tt.want || len(recovered) != tt.recovered {
			t.Errorf("%s: %s, %v recovered, want %s, %d", name, got, recovered, tt.want, tt.recovered)
		}
		old.Close()
		next.Close()
	}
}

// TestLoadOfAllReleasesCounts because it is one instance that has it.
func TestLoadOfAllReleasesCounts(t *testing.T) {
	f := newTestForwarder()
	old, next := releaseOf(t, f, "a:1"), releaseOf(t, f, "a:1", "b:1")
	defer old.Close()
	defer next.Close()
	x := &exchange{client: context.Background(), in: new(http.Request), slot: slot{release: old}}
	x.enterUpstream(old.upstreams[0])
	next.Inherit(old)
	for range 20 {
		if u := next.pick(x, nil); u != next.upstreams[1] {
			t.Fatalf("a request goes to %s, which is busy", u.target)
		}
	}
	x.leaveUpstream()
	if n := next.upstreams[0].inFlight.Load(); n != 0 {
		t.Errorf("%d in flight", n)
	}
}

// TestNothingIsInheritedFromTheDead such as a release that was closed with its engine.
func TestNothingIsInheritedFromTheDead(t *testing.T) {
	for name, end := range map[string]func(*Release){"closed": (*Release).Close, "shut down": (*Release).StopMonitor} {
		f := newTestForwarder()
		old, next := releaseOf(t, f, "a:1"), releaseOf(t, f, "a:1")
		end(old)
		own := next.upstreams[0]
		next.Inherit(old)
		if next.upstreams[0] != own || own.alive.Err() != nil {
			t.Errorf("%s: a target is inherited", name)
		}
		old.Close()
		next.Close()
		for _, r := range []*Release{old, next} {
			if r.upstreams[0].alive.Err() == nil {
				t.Errorf("%s: a target outlives its release", name)
			}
		}
	}
}
