package integration

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/internal/api"
)

// logLine is a line of the log about a request.
type logLine struct {
	Msg              string
	Service          string
	Release          int
	Target           string
	RequestID        string  `json:"request_id"`
	UpstreamDuration float64 `json:"upstream_duration"`
	Duration         float64
	Setting          string
	Status           int
	Request          struct{ URI string }
	URI              string
}

// lineAbout returns the line of the log with that message about a request for uri.
func lineAbout(t *testing.T, p *rig.Proxy, msg, uri string) (found logLine) {
	t.Helper()
	waitFor(t, msg+" of "+uri+" in the log", func() bool {
		for line := range strings.SplitSeq(p.Log(), "\n") {
			var l logLine
			if json.Unmarshal([]byte(line), &l) == nil && l.Msg == msg && (l.Request.URI == uri || l.URI == uri) {
				found = l
				return true
			}
		}
		return false
	})
	return found
}

// Whoever has a line of the proxy's log looks for the same request in that of the
// application, and wants to know which of the two was slow.
func TestAccessLogSaysWhereARequestWentAndHowLongThatTook(t *testing.T) {
	const slow = 120 * time.Millisecond // which no request that is passed through is waited for
	p := startProxy(t, "--access-log")
	ids := make(chan string, 10)
	a := startApp(t, "a", func(_ http.ResponseWriter, r *http.Request) {
		ids <- r.Header.Get("X-Request-Id")
		if r.URL.Path == "/slow" {
			time.Sleep(slow) // this is what is measured
		}
	})
	deploy(t, p, api.DeployRequest{Service: "web", Targets: []string{a.addr()}})
	for _, path := range []string{"/first", "/slow"} { // the later ones of a connection might be served in another way
		get(t, p, "", path)
		line, id := lineAbout(t, p, "handled request", path), arrive(t, "the request", ids)
		if line.Service != "web" || line.Release != 1 || line.Target != a.addr() || id == "" || line.RequestID != id {
			t.Errorf("%+v, and the application was told %q", line, id)
		}
		if line.UpstreamDuration <= 0 || line.UpstreamDuration > line.Duration || path == "/slow" && line.UpstreamDuration < slow.Seconds() {
			t.Errorf("%+v", line)
		}
	}
	req, err := http.NewRequest(http.MethodGet, p.URL()+"/given", nil)
	must(t, err)
	req.Header.Set("X-Request-Id", "mine")
	resp, err := (&http.Client{Timeout: patience}).Do(req)
	must(t, err)
	must(t, resp.Body.Close())
	if line := lineAbout(t, p, "handled request", "/given"); line.RequestID != "mine" || arrive(t, "the request", ids) != "mine" {
		t.Errorf("%+v has not the id that the client sent", line)
	}

	// What the proxy answers by itself is looked for as well.
	run(t, p, "stop", "web")
	for path, id := range map[string]string{"/stopped": "", "/stopped-mine": "mine"} {
		req, err := http.NewRequest(http.MethodGet, p.URL()+path, nil)
		must(t, err)
		if id != "" {
			req.Header.Set("X-Request-Id", id)
		}
		resp, err := (&http.Client{Timeout: patience}).Do(req)
		must(t, err)
		must(t, resp.Body.Close())
		if line := lineAbout(t, p, "handled request", path); line.Status != 503 || line.RequestID == "" || id != "" && line.RequestID != id {
			t.Errorf("%+v, and the client sent the id %q", line, id)
		}
	}
}

func TestFailedRequestIsLoggedWithTheTimeThatWasOver(t *testing.T) {
	p := startProxy(t, "--access-log")
	hung := make(chan struct{})
	a := startApp(t, "a", func(http.ResponseWriter, *http.Request) { <-hung })
	defer close(hung)
	deploy(t, p, api.DeployRequest{Service: "web", Targets: []string{a.addr()}, TargetTimeout: duration(50 * time.Millisecond)})
	if resp, _ := get(t, p, "", "/hung"); resp.StatusCode != http.StatusGatewayTimeout {
		t.Fatal(resp.Status)
	}
	line := lineAbout(t, p, "request failed", "/hung")
	if line.Service != "web" || line.Release != 1 || line.Target != a.addr() || line.RequestID == "" || line.Duration < 0.05 || line.Setting != "target_timeout" || line.Status != 504 {
		t.Errorf("%+v", line)
	}
	access := lineAbout(t, p, "handled request", "/hung")
	if access.Target != a.addr() || access.RequestID != line.RequestID || access.UpstreamDuration < 0.05 {
		t.Errorf("the access log has %+v", access)
	}
}

// A service names the header fields that its lines have besides, and the paths that its metrics do
// without.
func TestServicesSayWhatIsLoggedAndCounted(t *testing.T) {
	t.Parallel()
	p := startProxy(t, "--access-log")
	a := startApp(t, "a", func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Cache-Control"] = []string{"no-store", "private"}
	})
	if r := run(t, p, "deploy", a.addr(), "--service", "web", "--path-prefix", "/app", "--log-request-header", "user-agent,X-None,Authorization",
		"--log-response-header", "Cache-Control", "--exclude-metrics-path", "/ping"); r.Code != 0 {
		t.Fatalf("%d %s", r.Code, r.Stderr)
	}
	for _, path := range []string{"/app/ping", "/app/ping/x", "/app/ping?q"} {
		req, err := http.NewRequest(http.MethodGet, p.URL()+path, nil)
		must(t, err)
		req.Header.Set("User-Agent", "test/1")
		req.Header.Set("Authorization", "secret")
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		must(t, resp.Body.Close())
		line := rawLineAbout(t, p, "handled request", path)
		for _, want := range []string{`"req_user_agent":"test/1"`, `"req_x_none":""`, `"req_authorization":"REDACTED"`, `"resp_cache_control":"no-store,private"`} {
			if !strings.Contains(line, want) {
				t.Errorf("the line about %s lacks %s: %s", path, want, line)
			}
		}
	}
	if text := ourMetrics(t, p).text; !strings.Contains(text, `parachute_requests_total{code="2xx",method="GET",service="web"} 1`+"\n") {
		t.Error("not one request is counted, which is the one for another path")
	}
}

// rawLineAbout is lineAbout for all that the line has.
func rawLineAbout(t *testing.T, p *rig.Proxy, msg, uri string) (found string) {
	t.Helper()
	waitFor(t, msg+" of "+uri+" in the log", func() bool {
		for line := range strings.SplitSeq(p.Log(), "\n") {
			if strings.Contains(line, `"msg":"`+msg+`"`) && strings.Contains(line, `"uri":"`+uri+`"`) {
				found = line
				return true
			}
		}
		return false
	})
	return found
}

// A line tells the same whether Caddy's server has made it or we have: the first request of a connection is
// its own, and the second one is passed through.
func TestAccessLogTellsTheSameOfRequestsThatArePassedThrough(t *testing.T) {
	a := newScriptedApp(t)
	a.now.answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\ncontent-type: a/b\r\nSet-Cookie: secret\r\nX-Twice: a\r\nx-twice: b\r\nConnection: keep-alive\r\n\r\nhello"
	p := startProxy(t, "--access-log", "--edge", "on")
	deploy(t, p, api.DeployRequest{Service: "app", Hosts: []string{"app.test"}, Targets: []string{a.Addr().String()}, HealthCheckPath: "/up"})
	conn, err := net.Dial("tcp", p.Addr())
	must(t, err)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(conn)
	for _, path := range []string{"/first", "/second"} {
		_, _ = io.WriteString(conn, "GET "+path+"?a=b HTTP/1.1\r\nHost: app.test\r\nx-lower: \"1\"\r\nCookie: secret\r\nAccept: a\r\naccept: b\r\n\r\n")
		resp, err := http.ReadResponse(r, nil)
		must(t, err)
		_, _ = io.Copy(io.Discard, resp.Body)
	}
	a.mu.Lock()
	spelled := a.spelled
	a.mu.Unlock()
	if spelled != 1 {
		t.Errorf("%d requests were passed through, want one", spelled)
	}
	line := func(path string) string {
		var found map[string]any
		waitFor(t, "the line about "+path, func() bool {
			for line := range strings.SplitSeq(p.Log(), "\n") {
				if strings.Contains(line, "handled request") && strings.Contains(line, path+"?") {
					return json.Unmarshal([]byte(line), &found) == nil
				}
			}
			return false
		})
		if took, target, id := found["duration"].(float64), found["upstream_duration"].(float64), found["request_id"].(string); took <= 0 || target <= 0 || target > took || len(id) != 26 {
			t.Errorf("%v", found)
		}
		for _, differs := range []string{"ts", "duration", "upstream_duration", "request_id"} {
			delete(found, differs)
		}
		found["resp_headers"].(map[string]any)["Date"] = nil
		b, err := json.MarshalIndent(found, "", " ")
		must(t, err)
		return strings.ReplaceAll(string(b), path, "")
	}
	if first, second := line("/first"), line("/second"); first != second {
		t.Errorf("of one request, the log tells\n%s\nand of the other one\n%s", first, second)
	}
}
