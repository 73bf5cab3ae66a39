package proxy

import (
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// TestStartProbesWhatWasLoaded at once, and calls after the first do nothing.
func TestStartProbesWhatWasLoaded(t *testing.T) {
	t.Parallel()
	a, b := testkit.StartApp(t, "a"), testkit.StartApp(t, "b")
	e := newTestEngine(t)
	e.deploy(requestFor("app", a, b))
	restarted := newTestEngine(t, withStore(e.store))
	if err := restarted.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	healths := func() (all []api.Health) {
		for _, target := range restarted.Services()[0].Active.Targets {
			all = append(all, target.Health)
		}
		return all
	}
	if got := healths(); !slices.Equal(got, []api.Health{api.HealthUnverified, api.HealthUnverified}) {
		t.Errorf("before the start: %q", got)
	}
	restarted.wantAnswer2xx("h")
	restarted.Start()
	restarted.Start()
	for !slices.Equal(healths(), []api.Health{api.HealthHealthy, api.HealthHealthy}) {
	}
}

// TestHealthAfterTheSwitchIsThatOfTheGate: what the gate wants to see, the monitor does, too.
func TestHealthAfterTheSwitchIsThatOfTheGate(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	var page atomic.Value
	page.Store("ready")
	app := testkit.StartHandler(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNonAuthoritativeInfo)
		_, _ = io.WriteString(w, page.Load().(string))
	})
	req := requestFor("app", app, testkit.StartApp(t, "ready"))
	req.HealthCheckPath, req.HealthCheckStatus, req.HealthCheckBody = "/ready", "200,203", "ready"
	e.deploy(req)
	deadline := time.Now().Add(testkit.Timeout)
	await := func(want api.Health) {
		t.Helper()
		for got := api.Health(""); got != want; got = e.target("app", 0).Health {
			if time.Now().After(deadline) {
				t.Fatalf("%s, want %s", got, want)
			}
		}
	}
	await(api.HealthHealthy)
	page.Store("stopping")
	await(api.HealthFailing)
	page.Store("ready")
	await(api.HealthHealthy)
}
