package kamal

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
)

// TestDeployEndsWith0OnceTheSwitchHasHappened although a request of the old release had to be cut:
// with another exit code, Kamal would stop the release that serves.
func TestDeployEndsWith0OnceTheSwitchHasHappened(t *testing.T) {
	t.Parallel()
	s := newServer(t, parachute(t)).start()
	one, two := startApp(t, "one"), startApp(t, "two")
	s.do("deploy", "web", "--target="+one.addr(), "--host=app.test")
	slow := make(chan int, 1)
	go func() {
		status, _ := s.get("app.test", "/slow")
		slow <- status
	}()
	rigtest.Arrive(t, "the slow request", one.entered)
	r := s.do("deploy", "web", "--target="+two.addr(), "--host=app.test", "--drain-timeout=100ms")
	if !strings.Contains(r.Stderr, "Warning: the new release serves, but 1 request was cut") {
		t.Errorf("%+v", r)
	}
	if status := rigtest.Arrive(t, "the end of the slow request", slow); status < 500 {
		t.Errorf("the request that was cut got %d", status)
	}
	s.expect("app.test", "/x", http.StatusOK, `"App":"two"`)
}

// TestFailedDeployTellsWhatTheTargetAnswered in the one line that Kamal shows of it.
func TestFailedDeployTellsWhatTheTargetAnswered(t *testing.T) {
	t.Parallel()
	s := newServer(t, parachute(t)).start()
	r := s.run("deploy", "web", "--target="+startApp(t, "ill").addr(), "--health-check-path=/status/503", "--deploy-timeout=1s")
	if r.Code != 1 || !strings.Contains(r.Stderr, "target failed to become healthy within configured timeout (1s)") || !strings.Contains(r.Stderr, "503 Service Unavailable") {
		t.Errorf("%+v", r)
	}
}

// TestMaintenanceOutlivesDeploys as Kamal's app maintenance and app live have it.
func TestMaintenanceOutlivesDeploys(t *testing.T) {
	t.Parallel()
	s := newServer(t, parachute(t)).start()
	one, two := startApp(t, "one"), startApp(t, "two")
	s.do("deploy", "web", "--target="+one.addr(), "--host=app.test")
	s.do("stop", "web", "--drain-timeout=1s", "--message=Back at noon")
	s.expect("app.test", "/x", http.StatusServiceUnavailable, "Back at noon")
	s.expect("app.test", "/up", http.StatusOK, "")
	s.do("deploy", "web", "--target="+two.addr(), "--host=app.test")
	s.expect("app.test", "/x", http.StatusServiceUnavailable, "Back at noon")
	s.do("stop", "web", "--message=Back later")
	s.expect("app.test", "/x", http.StatusServiceUnavailable, "Back later")
	if list := s.do("list").Stdout; !strings.Contains(list, "stopped") {
		t.Error(list)
	}
	s.do("resume", "web")
	s.expect("app.test", "/x", http.StatusOK, `"App":"two"`)
	// Its next life begins without the stop.
	s.do("stop", "web")
	s.do("remove", "web")
	s.expect("app.test", "/x", http.StatusNotFound, "")
	s.do("deploy", "web", "--target="+two.addr(), "--host=app.test")
	s.expect("app.test", "/x", http.StatusOK, `"App":"two"`)
}

// TestDeployForgetsWhatItIsNotTold because a deploy of kamal-proxy says everything.
func TestDeployForgetsWhatItIsNotTold(t *testing.T) {
	t.Parallel()
	s := newServer(t, parachute(t)).start()
	a := startApp(t, "one")
	s.do("deploy", "web", "--target="+a.addr(), "--host=app.test", "--path-prefix=/x")
	s.do("deploy", "web", "--target="+a.addr())
	s.expect("other.test", "/y", http.StatusOK, `"URI":"/y"`)
}

// TestStartTellsWhatPeopleLookFor in the log of the proxy.
func TestStartTellsWhatPeopleLookFor(t *testing.T) {
	t.Parallel()
	s := newServer(t, parachute(t)).start()
	a := startApp(t, "one")
	for _, text := range []string{`"msg":"No previous state to restore"`, `"msg":"Server started"`, fmt.Sprintf(`"http":%d`, s.http), fmt.Sprintf(`"https":%d`, s.https)} {
		s.awaitLog(text)
	}
	s.do("deploy", "web", "--target="+a.addr(), "--host=app.test")
	s.expect("app.test", "/x?q=1", http.StatusOK, "one", "X-Request-ID", "mine", "User-Agent", "tester", "X-Forwarded-For", "192.0.2.7")
	line := s.awaitLog(`"msg":"Request"`)
	var entry map[string]any
	must(t, json.Unmarshal([]byte(line), &entry))
	for field, want := range map[string]any{
		"level": "INFO", "host": "app.test", "port": float64(s.http), "path": "/x", "query": "q=1", "request_id": "mine", "status": 200.0, "service": "web", "target": a.addr(),
		"method": "GET", "client_addr": "127.0.0.1", "remote_addr": "192.0.2.7", "user_agent": "tester", "proto": "HTTP/1.1", "scheme": "http", "resp_content_type": "application/json",
		"req_content_length": 0.0, "req_content_type": "",
	} {
		if entry[field] != want {
			t.Errorf("%s is %v, and not %v", field, entry[field], want)
		}
	}
	if d, _ := entry["duration"].(float64); d <= 0 || d > float64(time.Minute) {
		t.Errorf("it took %v", entry["duration"])
	}
	if when, err := time.Parse(time.RFC3339Nano, fmt.Sprint(entry["time"])); err != nil || time.Since(when).Abs() > time.Minute {
		t.Errorf("it was at %v", entry["time"])
	}
	if took := s.stop(); took > 8*time.Second {
		t.Errorf("it stopped after %s", took)
	}
	s.start()
	s.awaitLog(`"msg":"Restored saved state"`)
	s.expect("app.test", "/x", http.StatusOK, "one")
}

// awaitLog returns the first line of the log with a text.
func (s *server) awaitLog(text string) (line string) {
	s.t.Helper()
	rigtest.WaitFor(s.t, text, func() bool {
		for l := range strings.SplitSeq(s.log.String(), "\n") {
			if strings.Contains(l, text) && strings.HasSuffix(l, "}") {
				line = l
				return true
			}
		}
		return false
	})
	return line
}

// TestEnvironmentAndFlagsOfRunCount, those of kamal-proxy and those of parachute.
func TestEnvironmentAndFlagsOfRunCount(t *testing.T) {
	t.Parallel()
	s := newServer(t, parachute(t))
	metrics, err := rig.FreePort()
	must(t, err)
	s.env = []string{"KAMAL_PROXY_METRICS_PORT=no number", fmt.Sprintf("METRICS_PORT=%d", metrics), "PARACHUTE_ADMIN=", "KAMAL_PROXY_SOCKET=" + s.home + "/own.sock", "PARACHUTE_MAX_HEADER_SIZE=2k"}
	s.start("--metrics-port", fmt.Sprint(metrics), "--debug=false", "--http3", "--read-header-timeout=200ms", "--request-body-timeout=0")
	if r := s.run("list"); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/anything", metrics))
	must(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("another path of the metrics' port answers %s", resp.Status)
	}
	if status, _ := s.get("app.test", "/"+strings.Repeat("x", 3000)); status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("PARACHUTE_MAX_HEADER_SIZE is not heeded: %d", status)
	}
}

// TestRolloutIsTurnedOffAndOn as a newer kamal-proxy than the one beside it does.
func TestRolloutIsTurnedOffAndOn(t *testing.T) {
	t.Parallel()
	s := newServer(t, parachute(t)).start()
	one, two := startApp(t, "one"), startApp(t, "two")
	s.do("deploy", "web", "--target="+one.addr(), "--host=app.test")
	for line, want := range map[string]string{
		"rollout enable nobody": "Error: service not found\n", "rollout disable web": "Error: rollout target not set\n",
	} {
		if r := s.run(strings.Fields(line)...); r.Code != 1 || r.Stderr != want {
			t.Errorf("%s: %+v", line, r)
		}
	}
	s.do("rollout", "deploy", "web", "--target="+two.addr())
	if r := s.run("rollout", "disable", "web"); r.Code != 1 || r.Stderr != "Error: rollout split not set\n" {
		t.Errorf("%+v", r)
	}
	s.do("rollout", "set", "web", "--percent=0", "--list=vip")
	s.do("rollout", "disable", "web")
	s.expect("app.test", "/x", http.StatusOK, `"App":"one"`, "Cookie", "kamal-rollout=vip")
	if list := s.do("list").Stdout; !strings.Contains(list, "0% and 1 listed, disabled: "+two.addr()) {
		t.Error(list)
	}
	s.stop()
	s.start()
	s.expect("app.test", "/x", http.StatusOK, `"App":"one"`, "Cookie", "kamal-rollout=vip")
	s.do("rollout", "enable", "web")
	s.expect("app.test", "/x", http.StatusOK, `"App":"two"`, "Cookie", "kamal-rollout=vip")
	s.expect("app.test", "/x", http.StatusOK, `"App":"one"`)
	s.do("rollout", "stop", "web")
	s.expect("app.test", "/x", http.StatusOK, `"App":"one"`, "Cookie", "kamal-rollout=vip")
}
