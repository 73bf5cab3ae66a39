package proxy

import (
	"net/http"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

func TestHealthFollowsTheProbes(t *testing.T) {
	ok, slow, refused := probeResult{}, probeResult{reason: "no answer within 5s"}, probeResult{reason: "connection refused", unreachable: true}
	for name, tt := range map[string]struct {
		probes []probeResult
		want   api.Health
		reason string
		// changed is the number of the probe that brought the state about; 0 if none.
		changed int
	}{
		"no probe":                 {nil, "", "", 0},
		"success":                  {[]probeResult{ok}, api.HealthHealthy, "", 1},
		"one slow answer":          {[]probeResult{ok, slow}, api.HealthHealthy, "no answer within 5s", 1},
		"two slow answers":         {[]probeResult{ok, slow, slow}, api.HealthHealthy, "no answer within 5s", 1},
		"three slow answers":       {[]probeResult{ok, slow, slow, slow}, api.HealthFailing, "no answer within 5s", 4},
		"not three in a row":       {[]probeResult{ok, slow, slow, ok, slow, slow}, api.HealthHealthy, "no answer within 5s", 1},
		"refused once":             {[]probeResult{ok, refused}, api.HealthFailing, "connection refused", 2},
		"back":                     {[]probeResult{ok, refused, ok}, api.HealthHealthy, "", 3},
		"still failing":            {[]probeResult{refused, slow, refused, slow}, api.HealthFailing, "no answer within 5s", 1},
		"unverified and slow":      {[]probeResult{slow, slow}, "", "no answer within 5s", 0},
		"unverified and very slow": {[]probeResult{slow, slow, slow}, api.HealthFailing, "no answer within 5s", 3},
	} {
		var h health
		start := time.Unix(0, 0)
		for i, p := range tt.probes {
			h = h.after(p, start.Add(time.Duration(i+1)*time.Second))
		}
		var since time.Time
		if tt.changed > 0 {
			since = start.Add(time.Duration(tt.changed) * time.Second)
		}
		if h.state != tt.want || h.reason != tt.reason || !h.since.Equal(since) {
			t.Errorf("%s: %q (%s) since %v, want %q (%s) since %v", name, h.state, h.reason, h.since, tt.want, tt.reason, since)
		}
	}
}

// fail has the probes of u fail until it counts as failing.
func fail(u *upstream) {
	for range failuresToFail {
		u.observe(probeResult{reason: "503 Service Unavailable"}, time.Now())
	}
}

// upstreams returns those of the release that serves.
func (e *testEngine) upstreams(service string) []*upstream {
	return e.table.Load().named[service].active.Load().upstreams
}

// TestOnlyTargetIsNeverTakenOut keeps health checks from turning an overload into
// an outage.
func TestOnlyTargetIsNeverTakenOut(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	req := requestFor("app", startApp(t, "app"))
	req.HealthCheckInterval = ms(60_000)
	e.deploy(req)
	fail(e.upstreams("app")[0])
	e.wantAnswer("h", "/", "app")
	if s, _ := e.Service("app"); s.Active.Targets[0].Health != api.HealthFailing || s.Active.Targets[0].Reason != "503 Service Unavailable" ||
		s.Active.Targets[0].Since == nil {
		t.Errorf("target %+v, want it to be shown as failing", s.Active.Targets[0])
	}
}

func TestFailingTargetsLeaveTheRotationUnlessAllFail(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	req := requestFor("app", startApp(t, "one"), startApp(t, "two"))
	req.HealthCheckInterval = ms(60_000)
	e.deploy(req)
	seen := func() map[string]bool {
		all := make(map[string]bool)
		for range 40 {
			status, body := e.get("h", "/")
			if status != http.StatusOK {
				t.Fatalf("%d %q, want 200", status, body)
			}
			all[body] = true
		}
		return all
	}
	if all := seen(); len(all) != 2 {
		t.Errorf("%v answer, want both", all)
	}
	fail(e.upstreams("app")[0])
	if all := seen(); len(all) != 1 || !all["two"] {
		t.Errorf("%v answer, want the one that is not failing", all)
	}
	if targets, _ := e.Upstreams(t.Context(), "app"); len(targets) != 1 {
		t.Errorf("usable targets: %v, want one", targets)
	}
	fail(e.upstreams("app")[1])
	if all := seen(); len(all) != 2 {
		t.Errorf("%v answer, want both again", all)
	}
	if targets, _ := e.Upstreams(t.Context(), "app"); len(targets) != 2 {
		t.Errorf("usable targets: %v, want both again", targets)
	}
}

// TestKilledTargetCostsNoRequest kills one of two in the middle of the load.
func TestKilledTargetCostsNoRequest(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	one, two := startApp(t, "one"), startApp(t, "two")
	e.deploy(requestFor("app", one, two))
	stop := e.hammer(6, "h", "/")
	for one.served.Load() < 100 {
		e.wantAnswer2xx("h")
	}
	one.kill()
	for before := two.served.Load(); two.served.Load() < before+300; {
		e.wantAnswer2xx("h")
	}
	stop()
}

func (e *testEngine) wantAnswer2xx(host string) {
	e.t.Helper()
	if status, body := e.get(host, "/"); status != http.StatusOK {
		e.t.Fatalf("%d %q, want 200", status, body)
	}
}
