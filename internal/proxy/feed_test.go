package proxy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// follow returns a reader of the feed.
func (e *testEngine) follow(after string) *FeedReader {
	e.t.Helper()
	r, err := e.Feed(after)
	if err != nil {
		e.t.Fatal(err)
	}
	return r
}

// kinds returns the kinds of the next events, until one of a kind has come, and its id.
func kinds(t *testing.T, r *FeedReader, last api.EventKind) (text, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Timeout)
	defer cancel()
	var all []string
	for {
		events, err := r.Next(ctx)
		if err != nil {
			t.Fatalf("%v after %v", err, all)
		}
		for _, ev := range events {
			all = append(all, string(ev.Data.Kind))
			if id = ev.ID; ev.Data.Kind == last {
				return strings.Join(all, " "), id
			}
		}
	}
}

// Every change of a service is told once, in its order.
func TestFeedTellsWhatHappensToServices(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	r := e.follow("")
	a := testkit.StartApp(t, "app")
	e.deploy(requestFor("app", a))
	if got, _ := kinds(t, r, api.EventEnded); got != "accepted healthy switched ended" {
		t.Errorf("a first deploy: %s", got)
	}
	e.deploy(requestFor("app", a))
	got, id := kinds(t, r, api.EventEnded)
	if got != "accepted healthy switched draining drained ended" {
		t.Errorf("a second deploy: %s", got)
	}
	e.pause(api.HoldRequest{})
	e.resume()
	if _, err := e.Engine.Remove("app", api.RemoveRequest{}); err != nil {
		t.Fatal(err)
	}
	if got, _ := kinds(t, r, api.EventRemoved); got != "held resumed removed" {
		t.Errorf("a pause and a removal: %s", got)
	}
	// Who comes back goes on where it was.
	if got, _ := kinds(t, e.follow(id), api.EventRemoved); got != "held resumed removed" {
		t.Errorf("after an id: %s", got)
	}
	if got, _ := kinds(t, e.follow(api.FeedStart), api.EventRemoved); !strings.HasPrefix(got, "accepted healthy switched ended accepted") {
		t.Errorf("from the start: %s", got)
	}
}

// A reader that is slow, or of a proxy before this one, is told that it has missed events:
// nobody waits for it.
func TestFeedSaysWhatWasMissed(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	slow := e.follow("")
	for i := range 3*maxFeed + 7 {
		e.feed.publish(api.Event{Kind: api.EventResumed, Service: fmt.Sprint(i)})
	}
	events, err := slow.Next(t.Context())
	if err != nil || len(events) != maxFeed+1 || events[0].Data.Kind != api.EventGap || events[1].Data.Service != "2007" || events[maxFeed].Data.Service != "3006" {
		t.Fatalf("%d events, the first are %+v, %v", len(events), events[:2], err)
	}
	// The place of the gap is one to go on from.
	again, err := e.follow(events[0].ID).Next(t.Context())
	if err != nil || len(again) != maxFeed || again[0].ID != events[1].ID {
		t.Errorf("after the gap: %d events, %v", len(again), err)
	}
	other, err := e.follow("abcdefgh-5").Next(t.Context())
	if err != nil || other[0].Data.Kind != api.EventGap || len(other) != maxFeed+1 {
		t.Errorf("after an event of another proxy: %d events, %v", len(other), err)
	}
	for _, bad := range []string{"x", "abc-", "abc-x", "-"} {
		_, err := e.Feed(bad)
		wantCode(t, err, api.CodeInvalid)
	}
}

func TestFeedEndsWithTheEngine(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	r := e.follow("")
	ended := make(chan error, 1)
	go func() {
		_, err := r.Next(context.Background())
		ended <- err
	}()
	e.Close()
	if err := testkit.Receive(t, ended, "the end of the feed"); !errors.Is(err, ErrRetired) {
		t.Errorf("it ends with %v", err)
	}
}

// A target that fails, and comes back, is in the feed.
func TestFeedTellsOfHealth(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a := testkit.StartApp(t, "app")
	req := requestFor("app", a)
	req.Targets = append(req.Targets, testkit.StartApp(t, "sibling").Target)
	e.deploy(req)
	r := e.follow("")
	a.Health.Store(500)
	if got, _ := kinds(t, r, api.EventHealthChanged); got != "health_changed" {
		t.Errorf("a target that fails: %s", got)
	}
	a.Health.Store(200)
	if got, _ := kinds(t, r, api.EventHealthChanged); got != "health_changed" {
		t.Errorf("a target that is back: %s", got)
	}
}
