package integration

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
)

// callHolds pauses, stops and resumes, with every outcome.
func callHolds(c apiCaller) {
	const path = "/parachute/services/web/"
	for _, operation := range []string{"pause", "stop", "resume"} {
		c.call(404, http.MethodPost, path+operation, "")
	}
	c.deploy(200, "web", `{`+targets(startApp(c.t, "a", nil))+`}`)
	c.call(200, http.MethodPost, path+"resume", "")
	c.call(200, http.MethodPost, path+"pause", "")
	c.call(200, http.MethodPost, path+"pause", `{"max_wait": "1m", "queue": 10, "allow": ["10.0.0.0/8", "::1"], "drain_timeout": "1s"}`)
	c.call(200, http.MethodGet, "/parachute/services/web", "")
	c.call(200, http.MethodGet, "/parachute/services", "")
	c.call(200, http.MethodPost, path+"stop", "")
	c.call(200, http.MethodPost, path+"stop", `{"message": "moving", "status": 599}`)
	c.call(200, http.MethodGet, "/parachute/services/web", "")
	for _, body := range []string{`{`, `[]`, `{"message": "x"}`, `{"max_wait": "0s"}`, `{"queue": -1}`, `{"allow": ["all"]}`, `{"drain_timeout": "-1s"}`, `{"x": 1}`} {
		c.call(400, http.MethodPost, path+"pause", body)
	}
	for _, body := range []string{`{"queue": 1}`, `{"status": 200}`, `{"message": "` + strings.Repeat("x", 1001) + `"}`} {
		c.call(400, http.MethodPost, path+"stop", body)
	}
	c.call(200, http.MethodPost, path+"resume", "")
	c.call(200, http.MethodDelete, "/parachute/services/web", "")
}

// A pause over a deploy, under every kind of request: nothing is lost, and what waited is
// answered by the new release.
func TestPauseOverADeployLosesNothing(t *testing.T) {
	p := startProxy(t)
	first, next := startExample(t, "first"), startExample(t, "next")
	if r := run(t, p, "deploy", first.Addr); r.Code != 0 {
		t.Fatalf("%d %s", r.Code, r.Stderr)
	}
	load := rig.StartLoad(p.Addr(), 8, time.Millisecond)
	waitFor(t, "requests", func() bool { n, _ := load.Requests(); return n > 100 })
	if r := run(t, p, "pause", "default"); r.Code != 0 || r.Stdout != "default is paused\n" {
		t.Errorf("%d %q %s", r.Code, r.Stdout, r.Stderr)
	}
	waitFor(t, "held requests", func() bool { return services(t, p)[0].Hold.Waiting > 4 })
	if r := run(t, p, "list"); !strings.Contains(r.Stdout, "paused: ") || !strings.Contains(r.Stdout, " waiting") {
		t.Errorf("the list does not tell of the pause:\n%s", r.Stdout)
	}
	if r := run(t, p, "deploy", next.Addr, "--stream-timeout", "500ms"); r.Code != 0 {
		t.Errorf("%d %s", r.Code, r.Stderr)
	}
	if r := run(t, p, "resume", "default"); r.Code != 0 || r.Stdout != "default serves\n" {
		t.Errorf("%d %q %s", r.Code, r.Stdout, r.Stderr)
	}
	before, _ := load.Requests()
	waitFor(t, "more requests", func() bool { n, _ := load.Requests(); return n > before+100 })
	load.Stop()
	if n, failed := load.Requests(); failed > 0 {
		t.Errorf("%d of %d requests failed: %v", failed, n, load.Errors())
	}
}

func TestStopAnswersWithTheMessage(t *testing.T) {
	p := startProxy(t)
	a := startApp(t, "a", nil)
	deploy(t, p, to(a))
	if r := run(t, p, "stop", "default", "--message", "We are back at noon."); r.Code != 0 || r.Stdout != "default is stopped\n" {
		t.Errorf("%d %q %s", r.Code, r.Stdout, r.Stderr)
	}
	resp, body := get(t, p, "app.test", "/")
	if resp.StatusCode != http.StatusServiceUnavailable || body != "We are back at noon.\n" || resp.Header.Get("X-Parachute-Error") != "stopped" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s %q %v", resp.Status, body, resp.Header)
	}
	if r := run(t, p, "status", "default"); !strings.Contains(r.Stdout, `stopped since `) || !strings.Contains(r.Stdout, `"We are back at noon."`) {
		t.Errorf("the status does not tell of the stop:\n%s", r.Stdout)
	}
	_, err := p.Stop(patience)
	must(t, err)
	must(t, p.Start())
	if resp, _ := get(t, p, "app.test", "/"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("after a restart: %s", resp.Status)
	}
	if resp, _ := get(t, p, "app.test", "/up"); resp.StatusCode != http.StatusOK {
		t.Errorf("the health path: %s", resp.Status)
	}
	run(t, p, "resume", "default")
	if resp, body := get(t, p, "app.test", "/"); resp.StatusCode != http.StatusOK || body != "a" {
		t.Errorf("after the resume: %s %q", resp.Status, body)
	}
	if r := run(t, p, "pause", "default", "--queue", "0"); r.Code != 0 {
		t.Errorf("%d %s", r.Code, r.Stderr)
	}
	if resp, _ := get(t, p, "app.test", "/"); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "5" {
		t.Errorf("with a full queue: %s %v", resp.Status, resp.Header)
	}
	if r := run(t, p, "pause", "nobody"); r.Code != 5 {
		t.Errorf("%d %s", r.Code, r.Stderr)
	}
}
