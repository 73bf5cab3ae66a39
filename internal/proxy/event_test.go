package proxy

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

func TestEventsTellTheWholeStory(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.deploy(requestFor("app", testkit.StartApp(t, "old")))
	a, b := testkit.StartApp(t, "a"), testkit.StartApp(t, "b")
	a.Health.Store(http.StatusServiceUnavailable)
	d := e.start(requestFor("app", a, b))
	await(t, d, api.EventProbeFailed, 1)
	a.Health.Store(http.StatusOK)
	_, _ = wait(t, d)
	var kinds []api.EventKind
	if err := d.Events(t.Context(), func(ev api.Event) error {
		if ev.Deployment != d.ID() || ev.Service != "app" || ev.Time.IsZero() {
			t.Errorf("event %+v", ev)
		}
		if ev.Kind == api.EventEnded && (ev.Result == nil || ev.Result.State != api.StateDone || ev.Result.Release != 2) {
			t.Errorf("the last event has the result %+v", ev.Result)
		}
		kinds = append(kinds, ev.Kind)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := []api.EventKind{api.EventAccepted, api.EventHealthy, api.EventProbeFailed, api.EventHealthy, api.EventSwitched, api.EventDraining, api.EventDrained, api.EventEnded}
	// Two targets are asked at a time.
	slices.Sort(kinds[1:3])
	if !slices.Equal(kinds, want) {
		t.Errorf("events %q, want %q", kinds, want)
	}
}

// TestEventsReachEveryWatcher whenever it comes, in order and whole.
func TestEventsReachEveryWatcher(t *testing.T) {
	d := newDeployment(api.Spec{Service: "app"})
	const n = 100
	var watchers sync.WaitGroup
	for range 8 {
		watchers.Go(func() {
			next := 0
			err := d.Events(t.Context(), func(ev api.Event) error {
				if ev.Kind == api.EventDraining && ev.Requests != next {
					t.Errorf("event %d comes after event %d", ev.Requests, next-1)
				}
				if ev.Kind == api.EventDraining {
					next++
				}
				return nil
			})
			if err != nil || next != n {
				t.Errorf("%d events, %v, want %d", next, err, n)
			}
		})
	}
	for i := range n {
		d.drainProgress(i, 0)
	}
	d.finish(nil, 1)
	watchers.Wait()
}

func TestEventsOfALongDrainAreBounded(t *testing.T) {
	d := newDeployment(api.Spec{Service: "app"})
	for range 10 * maxEvents {
		d.drainProgress(1, 1)
	}
	d.drained(api.Drain{Release: 1})
	d.finish(nil, 2)
	if len(d.events) > maxEvents+2 || d.events[len(d.events)-1].Kind != api.EventEnded || d.events[len(d.events)-2].Kind != api.EventDrained {
		t.Errorf("%d events, the last is %+v", len(d.events), d.events[len(d.events)-1])
	}
}

func TestWatcherCanLeave(t *testing.T) {
	d := newDeployment(api.Spec{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Events(ctx, func(api.Event) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
	enough := errors.New("enough")
	if err := d.Events(t.Context(), func(api.Event) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("%v, want %v", err, enough)
	}
}
