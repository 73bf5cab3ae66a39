package proxy

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// TestWhatDoesNotMendItselfIsToldWhileTheDeployWaits, with the way out, and the deploy goes
// on: the app may be starting after all.
func TestWhatDoesNotMendItselfIsToldWhileTheDeployWaits(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a := testkit.StartApp(t, "a")
	a.Health.Store(http.StatusNotFound)
	req := requestFor("app", a)
	req.DeployTimeout = new(api.Duration(testkit.Timeout))
	start := time.Now()
	d := e.start(req)
	if ev := await(t, d, api.EventProbeFailed, 1); ev.Hint != "" {
		t.Errorf("the first failure has the hint %q", ev.Hint)
	}
	ev := await(t, d, api.EventProbeFailed, 2)
	if took := time.Since(start); took < time.Second || took > testkit.Timeout/2 {
		t.Errorf("told after %s", took)
	}
	if ev.Reason != "404 Not Found" || !strings.Contains(ev.Hint, "set `health_check_path`") || len(ev.Fields) != 1 || ev.Target != a.Target {
		t.Errorf("%+v", ev)
	}
	a.Health.Store(http.StatusOK)
	if _, err := wait(t, d); err != nil {
		t.Errorf("the deploy has not waited: %v", err)
	}
}

// TestStartingAppsAreNoReasonForAdvice because they refuse connections, or answer 503.
func TestStartingAppsAreNoReasonForAdvice(t *testing.T) {
	for reason, want := range map[string]bool{
		"connection refused": false, "no such socket": false, "503 Service Unavailable": false, "500 Internal Server Error": false,
		"no answer within 5s": false, "connection reset": false,
		"404 Not Found": true, "403 Forbidden": true, "302 redirect to /login, which is not followed": true,
		"host name web-2 does not resolve": true, "http2: frame too large": true,
		`200 OK without "ready" in the answer, which is empty`: true,
	} {
		if _, early := failureHint(api.Spec{}, "web:1", reason); early != want {
			t.Errorf("%s: told early: %v", reason, early)
		}
	}
}
