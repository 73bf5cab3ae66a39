package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// TestACutIsToldAndNoFailure deploys over a request that does not end. What calls a deploy
// stops the new release if the deploy fails: it must not, for that one serves.
func TestACutIsToldAndNoFailure(t *testing.T) {
	t.Parallel()
	for _, failOnCut := range []bool{false, true} {
		t.Run(fmt.Sprint("fail on cut ", failOnCut), func(t *testing.T) { testCut(t, failOnCut) })
	}
}

func testCut(t *testing.T, failOnCut bool) {
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
	req.DrainTimeout, req.FailOnCut = testkit.Milliseconds(50), failOnCut
	status, err := wait(t, e.start(req))
	switch {
	case !failOnCut && err != nil:
		t.Errorf("the deploy fails: %v", err)
	case failOnCut:
		wantCode(t, err, api.CodeDrainTimeout)
		if !strings.Contains(err.Error(), "app v1 did not drain in time: 1 request was cut") {
			t.Errorf("error %q does not say what was cut", err)
		}
	}
	if status.Cut == nil || *status.Cut != (api.Cut{Requests: 1}) {
		t.Errorf("cut %v, want one request", status.Cut)
	}
	if status.State != api.StateDone || status.Serving != 2 || status.Drained[0].CutRequests != 1 {
		t.Errorf("status %+v, want done, v2 serving, one request cut", status)
	}
	if got := testkit.Receive(t, answer, "the answer"); got != http.StatusServiceUnavailable {
		t.Errorf("the cut request is answered with %d", got)
	}
	e.wantAnswer("h", "/", "new")
}
