package proxy

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// visitedApp is a healthy application whose page /broken is an error. It notes what it was
// asked for beside its health check.
type visitedApp struct {
	target string
	mu     sync.Mutex
	asked  []string
}

func startVisitedApp(t *testing.T) *visitedApp {
	t.Helper()
	a := new(visitedApp)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/up" {
			return
		}
		a.mu.Lock()
		a.asked = append(a.asked, fmt.Sprintf("%s%s warm-up %q", r.Host, r.URL, r.Header.Get("X-Parachute-Warm-Up")))
		a.mu.Unlock()
		switch r.URL.Path {
		case "/broken":
			w.WriteHeader(http.StatusInternalServerError)
		case "/elsewhere":
			http.Redirect(w, r, "/never", http.StatusFound)
		}
	}))
	t.Cleanup(server.Close)
	a.target = strings.TrimPrefix(server.URL, "http://")
	return a
}

func (a *visitedApp) requests() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.asked...)
}

// Before the switch, every target is asked for the pages as visitors ask, and what it
// answers ends nothing.
func TestWarmUpComesBeforeTheSwitchAndEndsNothing(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a, b := startVisitedApp(t), startVisitedApp(t)
	r := e.follow("")
	status := e.deploy(api.DeployRequest{
		Service: "app", Targets: []string{a.target, b.target}, Hosts: []string{"a.test"}, Warm: []string{"/?q=1", "/broken"}, WarmRequests: 2,
	})
	for _, app := range []*visitedApp{a, b} {
		want := []string{`a.test/?q=1 warm-up "1"`, `a.test/?q=1 warm-up "1"`, `a.test/broken warm-up "1"`, `a.test/broken warm-up "1"`}
		if got := app.requests(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("asked for %q, want %q", got, want)
		}
	}
	if status.Release != 1 {
		t.Errorf("status %+v", status)
	}
	if got, _ := kinds(t, r, api.EventEnded); got != "accepted healthy healthy warmed switched ended" {
		t.Errorf("events: %s", got)
	}
}

func TestSmokeTestThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	old := testkit.StartApp(t, "old")
	e.deploy(requestFor("app", old))
	next := startVisitedApp(t)
	_, err := wait(t, e.startPatch(api.Patch{"service": "app", "targets": []string{next.target}, "smoke": []string{"/elsewhere", "/broken"}}))
	wantCode(t, err, api.CodeNotHealthy)
	if !strings.Contains(err.Error(), next.target+" fails its smoke test: GET /broken: 500") {
		t.Errorf("error %q", err)
	}
	e.wantAnswer("h", "/", "old")
	// A redirect is a page for visitors, and is not followed.
	e.deployPatch(api.Patch{"service": "app", "targets": []string{next.target}, "smoke": []string{"/elsewhere"}})
	for _, asked := range next.requests() {
		if strings.Contains(asked, "/never") || strings.Contains(asked, `"1"`) {
			t.Errorf("asked for %s", asked)
		}
	}
	// What has gone away fails it, too; who forces a deploy skips it.
	_, err = wait(t, e.startPatch(api.Patch{"service": "app", "health_check_port": 1, "targets": []string{testkit.RefusedAddress}, "smoke": []string{"/"}, "force": true}))
	if err != nil {
		t.Errorf("a forced deploy: %v", err)
	}
	e.checkConsistent()
}
