package integration

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig"
)

// apiCaller makes calls, and holds every answer against the description.
type apiCaller struct {
	*apiDescription
	t *testing.T
	p *rig.Proxy
	// inBody says that deployments are asked for with the service in the body, and not in
	// the path.
	inBody bool
}

// call returns the answer as JSON, or nil if the answer is NDJSON.
func (c apiCaller) call(want int, method, path, body string, header ...string) map[string]any {
	c.t.Helper()
	req, err := http.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
	must(c.t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.p.HTTP().Do(req)
	if err != nil {
		c.t.Errorf("%s %s: %v", method, path, err)
		return nil
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		c.t.Errorf("%s %s %.80s: %d instead of %d (%v): %s", method, path, body, resp.StatusCode, want, err, answer)
	}
	media := resp.Header.Get("Content-Type")
	c.check(c.t, method, path, resp.StatusCode, media, answer)
	if media != "application/json" {
		return nil
	}
	object, _ := parseJSON(c.t, string(answer)).(map[string]any)
	return object
}

// deploy deploys with a body that has to fit the description.
func (c apiCaller) deploy(want int, service, body string, header ...string) map[string]any {
	c.t.Helper()
	for _, wrong := range c.schemas.check(c.at("components", "schemas", "DeployRequest"), "request", parseJSON(c.t, body)) {
		c.t.Errorf("%s: %s", body, wrong)
	}
	if c.inBody {
		if !strings.Contains(body, `"service"`) {
			body = `{"service": "` + service + `", ` + strings.TrimPrefix(body, "{")
		}
		return c.call(want, http.MethodPost, "/parachute/deployments", body, header...)
	}
	return c.call(want, http.MethodPost, "/parachute/services/"+service+"/deployments", body, header...)
}

// inBackground runs call and returns a channel that tells when it has ended.
func (c apiCaller) inBackground(call func()) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		call()
	}()
	return ended
}

func targets(apps ...*app) string {
	var all []string
	for _, a := range apps {
		all = append(all, strconv.Quote(a.addr()))
	}
	return `"targets": [` + strings.Join(all, ",") + `]`
}

// neverSeen are the answers that no test can bring about.
var neverSeen = map[string]string{
	"GET /parachute/fleet 200 application/json":                           "the proxy is in no fleet",
	"DELETE /parachute/fleet 200 application/json":                        "the proxy is in no fleet",
	"POST /parachute/fleet/restore 200 application/json":                  "the proxy is in no fleet",
	"DELETE /parachute/fleet/members/{name} 200 application/json":         "the proxy is in no fleet",
	"DELETE /parachute/services/{service} 500 application/json":           "no way to it is known",
	"POST /parachute/services/{service}/deployments 500 application/json": "no way to it is known",
	"POST /parachute/deployments 500 application/json":                    "no way to it is known",
	"POST /parachute/services/{service}/resume 507 application/json":      "what could be held could be stored",
	"POST /parachute/services/{service}/rollback 500 application/json":    "no way to it is known",
	"POST /parachute/services/{service}/rollback 507 application/json":    "where nothing can be stored, no history can be read",
}

// TestAPIAnswersAreAsDescribed makes every call with every outcome and holds the
// answers against docs/openapi.yaml, both ways: what is answered is described,
// and what is described is answered.
func TestAPIAnswersAreAsDescribed(t *testing.T) {
	d := readDescription(t)
	for _, inBody := range []bool{false, true} {
		callEverything(apiCaller{d, t, startProxy(t), inBody})
	}

	for _, answer := range d.answers() {
		if reason, ok := neverSeen[answer]; ok == d.seen[answer] {
			t.Errorf("%s is described, seen: %t; listed as never seen: %t %s", answer, d.seen[answer], ok, reason)
		}
	}
}

func callEverything(c apiCaller) {
	c.call(200, "GET", "/parachute/services", "")
	c.call(200, "GET", "/parachute/version", "")
	c.call(404, "GET", "/parachute/services/web", "")
	c.call(404, "DELETE", "/parachute/services/web", "")
	c.call(404, "GET", "/parachute/deployments/none", "")
	c.call(404, "GET", "/parachute/nothing", "")
	c.call(404, "PATCH", "/parachute/services", "")
	c.call(404, "GET", "/parachute/fleet", "")
	c.call(404, "DELETE", "/parachute/fleet", "")
	c.call(404, "DELETE", "/parachute/fleet/members/b", "")
	c.call(404, "POST", "/parachute/fleet/restore", "")
	callDeployments(c)
	callRollback(c)
	callHolds(c)
	callRollouts(c)
	callIfMatch(c)
	callEvents(c)
	callFailingStorage(c)
	callUpgrade(c)
	callAsABrowser(c)
	callStopping(c)
	callWithoutParachute(c)
}

func callDeployments(c apiCaller) {
	t := c.t
	first, arrived, release := slowApp(t, "first")
	next, unready := startApp(t, "next", nil), startApp(t, "unready", nil)
	unready.unready.Store(true)

	ok := c.deploy(200, "web", `{`+targets(first)+`, "hosts": ["web.example.com"]}`)
	c.call(200, "GET", fmt.Sprint("/parachute/deployments/", ok["id"]), "")
	c.call(200, "GET", "/parachute/services", "")
	c.call(200, "GET", "/parachute/services/web", "")

	// What is asked for is refused as it is written.
	c.deploy(409, "other", `{`+targets(next)+`, "hosts": ["web.example.com"]}`)
	for _, body := range []string{
		``, `{`, `[]`, `{"targets": null}`, `{"targets": []}`, `{"targets": ["no-port"]}`,
		`{` + targets(next) + `, "colour": "red"}`,
		`{` + targets(next) + `, "drain_timeout": 30}`,
		`{` + targets(next) + `, "drain_timeout": "-1s"}`,
		`{` + targets(next) + `, "health_check_port": 65536}`,
		`{` + targets(next) + `, "service": "other"}`,
		`{` + targets(next) + `} {}`,
		`{` + targets(next) + `} garbage`,
		`{"targets": ["` + strings.Repeat("a", 10<<20) + `"]}`,
	} {
		c.call(400, "POST", "/parachute/services/web/deployments", body)
	}
	c.call(400, "POST", "/parachute/services/no%20name/deployments", `{`+targets(next)+`}`)
	c.call(400, "DELETE", "/parachute/services/web?drain_timeout=soon", "")
	c.call(400, "DELETE", "/parachute/services/web?stream_timeout=-1s", "")

	// It fails, or is overtaken, and the stream of events tells the same.
	failing := `{` + targets(next, unready) + `, "hosts": ["web.example.com"], "deploy_timeout": "200ms"}`
	c.deploy(422, "web", failing)
	c.deploy(200, "web", failing, "Accept", "application/x-ndjson")
	overtaken := c.inBackground(func() {
		c.deploy(409, "web", `{`+targets(unready)+`, "hosts": ["web.example.com"]}`)
	})
	waitFor(t, "a deployment", func() bool { return len(services(t, c.p)[0].Deployments) == 1 })
	c.call(200, "GET", "/parachute/services/web", "")
	detached := c.deploy(202, "web", `{`+targets(unready)+`, "hosts": ["web.example.com"], "detach": true}`)
	arrive(t, "the end of the overtaken deployment", overtaken)
	c.call(200, "GET", fmt.Sprint("/parachute/deployments/", detached["id"]), "")

	// It succeeds, at the cost of a request that does not end.
	arriveAt(t, c.p, "web.example.com", arrived)
	everyOption := `{` + targets(next) + `, "service": "web", "hosts": ["web.example.com"], "path_prefixes": ["/", "/api"],
		"strip_path_prefix": false, "health_check_path": "/up", "health_check_host": "web", "health_check_interval": "50ms",
		"health_check_timeout": "1s", "deploy_timeout": "10s", "drain_timeout": "1ms", "stream_timeout": "0s",
		"target_timeout": "1m30s", "hold_timeout": "0s", "fail_on_cut": true, "force": true}`
	c.deploy(504, "web", everyOption)
	c.call(200, "GET", "/parachute/services/web", "")
	c.deploy(200, "web", `{`+targets(first, next)+`, "hosts": ["web.example.com"]}`, "Accept", "application/x-ndjson")

	// And it goes.
	c.deploy(200, "web", `{`+targets(first)+`, "hosts": ["web.example.com"]}`)
	arriveAt(t, c.p, "web.example.com", arrived)
	c.call(504, "DELETE", "/parachute/services/web?drain_timeout=1ms&fail_on_cut=true", "")
	close(release)
	c.deploy(200, "web", `{`+targets(first)+`}`)
	c.call(200, "DELETE", "/parachute/services/web?drain_timeout=1s&stream_timeout=0s", "")
}

// arriveAt leaves a request in flight.
func arriveAt(t *testing.T, p *rig.Proxy, host string, arrived <-chan struct{}) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, p.URL()+"/slow", nil)
	must(t, err)
	req.Host = host
	go func() {
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	arrive(t, "the slow request", arrived)
}

// callFailingStorage puts a file where the state of a service belongs.
func callFailingStorage(c apiCaller) {
	a := startApp(c.t, "a", nil)
	dir := filepath.Join(c.p.Dir, "storage", "parachute", "services", "stored")
	must(c.t, os.MkdirAll(filepath.Dir(dir), 0o700))
	must(c.t, os.WriteFile(dir, nil, 0o600))
	c.deploy(507, "stored", `{`+targets(a)+`}`)
	must(c.t, os.Remove(dir))

	c.deploy(200, "stored", `{`+targets(a)+`}`)
	c.deploy(409, "stored", `{`+targets(a)+`, "canary": "1%"}`)
	must(c.t, os.RemoveAll(dir))
	must(c.t, os.WriteFile(dir, nil, 0o600))
	c.call(507, "PUT", "/parachute/services/stored/rollout", `{"action": "abort"}`)
	c.call(507, "DELETE", "/parachute/services/stored", "")
	c.call(507, "POST", "/parachute/services/stored/pause", "")
	c.call(507, "POST", "/parachute/services/stored/stop", "")
	c.call(200, "GET", "/parachute/services/stored", "")
	must(c.t, os.Remove(dir))
	c.call(200, "DELETE", "/parachute/services/stored", "")
}

// everyCall is a request for each operation.
var everyCall = [][2]string{
	{"GET", "/parachute/services"},
	{"GET", "/parachute/services/web"},
	{"DELETE", "/parachute/services/web"},
	{"POST", "/parachute/services/web/deployments"},
	{"GET", "/parachute/services/web/releases"},
	{"POST", "/parachute/services/web/rollback"},
	{"PUT", "/parachute/services/web/rollout"},
	{"POST", "/parachute/services/web/preview"},
	{"POST", "/parachute/services/web/pause"},
	{"POST", "/parachute/services/web/stop"},
	{"POST", "/parachute/services/web/resume"},
	{"POST", "/parachute/deployments"},
	{"GET", "/parachute/deployments/none"},
	{"GET", "/parachute/events?after=none"},
	{"GET", "/parachute/version"},
	{"GET", "/parachute/processes"},
	{"POST", "/parachute/upgrade"},
	{"GET", "/parachute/fleet"},
	{"DELETE", "/parachute/fleet"},
	{"DELETE", "/parachute/fleet/members/b"},
	{"POST", "/parachute/fleet/restore"},
}

// callUpgrade has another process take over, while one takes over already as well.
func callUpgrade(c apiCaller) {
	c.call(200, "GET", "/parachute/processes", "")
	for _, body := range []string{`{"timeout": "1ms"}`, `{"timeout": 1}`, `{`, `{"x": 1}`} {
		c.call(400, "POST", "/parachute/upgrade", body)
	}
	conn, err := net.Dial("unix", filepath.Join(c.p.Dir, "handover.sock"))
	must(c.t, err)
	_, err = conn.Write([]byte(`{"kind": "hello", "protocol": 1, "version": "other", "pid": 1}` + "\n"))
	must(c.t, err)
	_, err = conn.Read(make([]byte, 1)) // the offer
	must(c.t, err)
	c.call(502, "POST", "/parachute/upgrade", "")
	conn.Close()
	c.events(`"upgrade_failed"`)
	waitFor(c.t, "the end of the other one", func() bool {
		u, err := c.p.Upgrade()
		return err == nil && u.To.Generation == 2
	})
	c.call(200, "POST", "/parachute/upgrade", `{"timeout": "20s"}`)
	all, err := c.p.Processes()
	must(c.t, err)
	must(c.t, c.p.Leads(all[0].PID))
	c.call(200, "GET", "/parachute/processes", "")
	c.events(`"upgraded"`)
	c.events(`"process_ended"`)
}

func callAsABrowser(c apiCaller) {
	for _, call := range everyCall {
		c.call(400, call[0], call[1], "", "Sec-Fetch-Mode", "no-cors")
		c.call(403, call[0], call[1], "", "Origin", "http://elsewhere.example.com")
	}
}

// callStopping has the proxy stop while a deployment is under way.
func callStopping(c apiCaller) {
	unready := startApp(c.t, "unready", nil)
	unready.unready.Store(true)
	stopped := c.inBackground(func() {
		if answer := c.deploy(503, "web", `{`+targets(unready)+`}`); answer["outcome"] == nil {
			c.t.Errorf("a deployment that was accepted has no outcome")
		}
	})
	waitFor(c.t, "the deployment", func() bool { return len(services(c.t, c.p)) == 1 })
	must(c.t, c.p.Signal(syscall.SIGTERM))
	arrive(c.t, "the end of the deployment", stopped)
}

// callWithoutParachute calls a Caddy whose config has no parachute API.
func callWithoutParachute(c apiCaller) {
	c.p = startCaddy(c.t, "")
	for _, call := range everyCall {
		c.call(503, call[0], call[1], "")
	}
}
