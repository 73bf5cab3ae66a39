package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/parachute-proxy/parachute/internal/api"
)

// screen is an Env that prints to a terminal of a size.
func screen(out *strings.Builder, columns, lines int) *Env {
	size := func() (int, int) { return columns, lines }
	return &Env{Out: &Stream{Writer: out, Terminal: true, Size: size}, Err: &Stream{Writer: out}}
}

// served returns a service that has had n requests.
func served(name string, n int64) api.ServiceStatus {
	return api.ServiceStatus{
		Name: name, PathPrefixes: []string{"/"},
		Active: &api.ReleaseStatus{Release: 3, DeployedAt: time.Now().Add(-90 * time.Minute), Served: n, Options: api.Options{}},
	}
}

func TestWatchShowsRatesAndOutlastsARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type answer struct {
			services []api.ServiceStatus
			err      error
		}
		answers := []answer{
			{services: []api.ServiceStatus{served("shop", 10)}},
			{services: []api.ServiceStatus{served("shop", 52)}},
			{err: errors.New("no proxy answers")},
			{services: []api.ServiceStatus{served("shop", 3)}},
		}
		ctx, cancel := context.WithCancel(t.Context())
		fetch := func(context.Context) ([]api.ServiceStatus, error) {
			if len(answers) == 0 {
				cancel()
				return nil, ctx.Err()
			}
			next := answers[0]
			answers = answers[1:]
			return next.services, next.err
		}
		var out strings.Builder
		format := OutputFormat(outputText)
		ticker := time.NewTicker(watchInterval)
		defer ticker.Stop()
		if err := (&listOptions{output: &format}).watchServices(ctx, screen(&out, 100, 24), ticker.C, fetch); err != nil {
			t.Fatal(err)
		}
		screens := strings.Split(out.String(), cursorHome)[1:]
		if len(screens) != 4 {
			t.Fatalf("there are %d listings: %q", len(screens), out.String())
		}
		for i, want := range []string{"RATE", "42/s", "error: no proxy answers", "v3"} {
			if !strings.Contains(screens[i], want) || i != 1 && strings.Contains(screens[i], "/s") {
				t.Errorf("listing %d lacks %q: %q", i, want, screens[i])
			}
		}
	})
}

// A listing that is longer than the screen would scroll, and never be seen in one piece.
func TestWatchFitsTheScreen(t *testing.T) {
	var services []api.ServiceStatus
	for i := range 50 {
		services = append(services, served(fmt.Sprintf("service-%d-with-a-long-name.example.com", i), 0))
	}
	var out strings.Builder
	format := OutputFormat(outputText)
	if err := (&listOptions{output: &format}).redraw(screen(&out, 60, 10), &listing{services: services, now: time.Now()}, nil); err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(cursorHome, "", eraseToEOL, "", eraseToBottom, "").Replace(out.String())
	if n := strings.Count(text, "\n"); n != 9 || !strings.HasSuffix(text, "and 43 more\n") {
		t.Errorf("%d lines on a screen of 10:\n%s", n, text)
	}
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(line); n > 61 {
			t.Errorf("a line has %d columns: %s", n, line)
		}
	}
}

func TestAgeIsShort(t *testing.T) {
	now := time.Now()
	for ago, want := range map[time.Duration]string{
		-time.Minute: "0s", 0: "0s", 59 * time.Second: "59s", time.Minute: "1m", 59 * time.Minute: "59m", time.Hour: "1h",
		47 * time.Hour: "47h", 48 * time.Hour: "2d", 400 * 24 * time.Hour: "400d",
	} {
		if got := ageOf(now.Add(-ago), now); got != want {
			t.Errorf("%s: %s, want %s", ago, got, want)
		}
	}
}
