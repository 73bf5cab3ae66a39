package proxy

import (
	"slices"
	"testing"

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
