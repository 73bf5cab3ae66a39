package proxy

import (
	"net/http"
	"testing"

	"github.com/parachute-proxy/parachute/internal/testkit"
)

// TestKilledTargetCostsNoRequest kills one of two in the middle of the load.
func TestKilledTargetCostsNoRequest(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	one, two := testkit.StartApp(t, "one"), testkit.StartApp(t, "two")
	e.deploy(requestFor("app", one, two))
	stop := e.hammer(6, "h", "/")
	for one.Served.Load() < 100 {
		e.wantAnswer2xx("h")
	}
	one.Kill()
	for before := two.Served.Load(); two.Served.Load() < before+300; {
		e.wantAnswer2xx("h")
	}
	stop()
}

func (e *testEngine) wantAnswer2xx(host string) {
	e.t.Helper()
	if status, body := e.get(host, "/"); status != http.StatusOK {
		e.t.Fatalf("%d %q, want 200", status, body)
	}
}
