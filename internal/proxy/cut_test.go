package proxy

import (
	"net/http"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// TestCutRequestsAreTold deploys over a request that does not end.
func TestCutRequestsAreTold(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	old := testkit.StartApp(t, "old")
	e.deploy(requestFor("app", old))
	answer := make(chan int, 1)
	go func() {
		status, _ := e.get("h", "/slow")
		answer <- status
	}()
	testkit.Receive(t, old.Arrived, "the slow request")
	req := requestFor("app", testkit.StartApp(t, "new"))
	req.DrainTimeout = testkit.Milliseconds(50)
	status, err := wait(t, e.start(req))
	wantCode(t, err, api.CodeDrainTimeout)
	if !strings.Contains(err.Error(), "app v1 did not drain in time: 1 request and 0 streams were cut") {
		t.Errorf("error %q does not say what was cut", err)
	}
	if status.State != api.StateDone || status.Serving != 2 || status.Drained[0].CutRequests != 1 {
		t.Errorf("status %+v, want done, v2 serving, one request cut", status)
	}
	if got := testkit.Receive(t, answer, "the answer"); got != http.StatusServiceUnavailable {
		t.Errorf("the cut request is answered with %d", got)
	}
	e.wantAnswer("h", "/", "new")
}
