package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
)

// feedLines follows the feed until a line has come with last in it, and returns all of them.
func feedLines(t *testing.T, c *http.Client, query, last string, header ...string) (media string, lines []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/parachute/events"+query, nil)
	must(t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	must(t, err)
	defer resp.Body.Close()
	scanner := bufio.NewScanner(resp.Body)
	for scanner.Scan() {
		lines = append(lines, scanner.Text())
		if strings.Contains(scanner.Text(), last) {
			return resp.Header.Get("Content-Type"), lines
		}
	}
	t.Fatalf("the feed ended (%v) after %q", scanner.Err(), lines)
	return "", nil
}

// events reads the feed from its start until a line has come with last in it.
func (c apiCaller) events(last string) {
	c.t.Helper()
	media, lines := feedLines(c.t, c.p.HTTP(), "?after=start", last)
	c.check(c.t, http.MethodGet, "/parachute/events", 200, media, []byte(strings.Join(lines, "\n")+"\n"))
}

// callEvents reads the feed of what was called before, in both of its forms.
func callEvents(c apiCaller) {
	const path = "/parachute/events"
	c.call(400, http.MethodGet, path+"?after=x", "")
	c.events(`"removed"`)
	media, lines := feedLines(c.t, c.p.HTTP(), "?after=other-5", `"event":"removed"`, "Accept", "text/event-stream")
	text, err := json.Marshal(strings.Join(lines, "\n"))
	must(c.t, err)
	c.check(c.t, http.MethodGet, path, 200, media, text)
	if all := strings.Join(lines, "\n"); !strings.HasPrefix(lines[0], "id: ") || lines[1] != "event: gap" || !strings.Contains(all, "\nevent: switched\ndata: {") {
		c.t.Errorf("server-sent events:\n%s", all)
	}
	// A browser that comes back goes on behind the last event that it has seen.
	id := strings.TrimPrefix(lines[len(lines)-3], "id: ")
	before := strings.TrimPrefix(lines[len(lines)-7], "id: ")
	if _, again := feedLines(c.t, c.p.HTTP(), "", `"event":"removed"`, "Accept", "text/event-stream", "Last-Event-ID", before); again[0] != "id: "+id {
		c.t.Errorf("after %s:\n%s", before, strings.Join(again, "\n"))
	}
}

func TestEventsFollowsTheServices(t *testing.T) {
	p := startProxy(t)
	a, b := startApp(t, "a", nil), startApp(t, "b", nil)
	cmd, said := begin(t, p, "events", "shop")
	waitFor(t, "the first event", func() bool { // it begins with what happens once it listens
		deploy(t, p, api.DeployRequest{Service: "shop", Targets: []string{a.addr()}})
		return strings.Contains(said.String(), "shop deploys")
	})
	deploy(t, p, api.DeployRequest{Service: "other", Targets: []string{b.addr()}, Hosts: []string{"b.test"}})
	run(t, p, "stop", "shop")
	run(t, p, "resume", "shop")
	run(t, p, "remove", "shop")
	says(t, said, "shop is removed\n")
	for _, want := range []string{"shop deploys " + a.addr(), "shop " + a.addr() + " is healthy", "shop switched ", "shop drained v", "is live\n", "shop is stopped\n", "shop serves again\n"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
	if strings.Contains(said.String(), "other") {
		t.Errorf("it tells of another service:\n%s", said)
	}
	must(t, cmd.Process.Signal(os.Interrupt))
	if code := exitCodeOf(cmd); code != 0 {
		t.Errorf("it ends with %d: %s", code, said)
	}
}

// TestEventsGoOnBehindARestart of the proxy.
func TestEventsGoOnBehindARestart(t *testing.T) {
	p := startProxy(t)
	a := startApp(t, "a", nil)
	deploy(t, p, api.DeployRequest{Service: "shop", Targets: []string{a.addr()}})
	_, said := begin(t, p, "events", "--after", "start")
	says(t, said, "shop v1 is live\n")
	if _, err := p.Stop(patience); err != nil {
		t.Fatal(err)
	}
	says(t, said, "waiting for it to come back\n")
	must(t, p.Start())
	run(t, p, "stop", "shop")
	says(t, said, "shop is stopped\n")
	if n := strings.Count(said.String(), "waiting for it to come back"); n != 1 {
		t.Errorf("it says so %d times:\n%s", n, said)
	}
}

// Whoever has handlers of Caddy's events app is told, too. Caddy logs each event at the
// level DEBUG.
func TestEventsReachCaddysEventsApp(t *testing.T) {
	config := filepath.Join(t.TempDir(), "Caddyfile")
	must(t, os.WriteFile(config, []byte("{\n}\n"), 0o600))
	p := startProxy(t, "--debug", "--config", config)
	a := startApp(t, "a", nil)
	deploy(t, p, to(a))
	must(t, p.ReloadConfig(patience))
	deploy(t, p, to(a))
	run(t, p, "remove", "default")
	told := func(event string) int { return strings.Count(p.Log(), `"name":"parachute.`+event+`"`) }
	waitFor(t, "the last event", func() bool { return told("removed") > 0 })
	for event, want := range map[string]int{"accepted": 2, "switched": 2, "drained": 1, "ended": 2, "removed": 1} {
		if n := told(event); n != want {
			t.Errorf("%s was told %d times, want %d", event, n, want)
		}
	}
}
