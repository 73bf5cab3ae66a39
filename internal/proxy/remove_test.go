package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// removal is what Remove returns.
type removal struct {
	api.Removal
	err error
}

func (e *testEngine) remove(name string, req api.RemoveRequest) <-chan removal {
	done := make(chan removal, 1)
	go func() {
		r, err := e.Remove(name, req)
		done <- removal{r, err}
	}()
	return done
}

func TestRemoveDrains(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a := testkit.StartApp(t, "app")
	e.deploy(requestFor("app", a))
	answer := make(chan string, 1)
	go func() {
		_, body := e.get("h", "/slow")
		answer <- body
	}()
	testkit.Receive(t, a.Arrived, "the slow request")
	done := e.remove("app", api.RemoveRequest{})
	for status := 0; status != http.StatusNotFound; { // new requests are refused at once
		status, _ = e.get("h", "/")
	}
	select {
	case r := <-done:
		t.Fatalf("the removal ends while a request is in flight: %+v", r)
	default:
	}
	close(a.Finish)
	if got := testkit.Receive(t, answer, "the slow answer"); got != "app" {
		t.Errorf("the slow request is answered with %q", got)
	}
	r := testkit.Receive(t, done, "the removal")
	if r.err != nil || r.Drained == nil || !r.Drained.Clean() {
		t.Errorf("removal %+v", r)
	}
	e.checkConsistent()
	if _, err := e.Service("app"); api.ErrorCode(err) != api.CodeNotFound {
		t.Errorf("the service is still there: %v", err)
	}
}

func TestRemoveTellsWhatItCut(t *testing.T) {
	t.Parallel()
	for _, failOnCut := range []bool{false, true} {
		t.Run(fmt.Sprint("fail on cut ", failOnCut), func(t *testing.T) { testCutByRemove(t, failOnCut) })
	}
}

func testCutByRemove(t *testing.T, failOnCut bool) {
	e := newTestEngine(t)
	a := testkit.StartApp(t, "app")
	e.deploy(requestFor("app", a))
	go e.get("h", "/slow")
	testkit.Receive(t, a.Arrived, "the slow request")
	r := testkit.Receive(t, e.remove("app", api.RemoveRequest{DrainTimeout: testkit.Milliseconds(20), FailOnCut: failOnCut}), "the removal")
	if failed := api.ErrorCode(r.err) == api.CodeDrainTimeout; failed != failOnCut || !failed && r.err != nil {
		t.Errorf("the removal ends with %v", r.err)
	}
	if r.Drained == nil || r.Drained.CutRequests != 1 || r.Cut == nil || r.Cut.Requests != 1 {
		t.Errorf("removal %+v, want one request cut", r)
	}
	e.checkConsistent() // the service is gone all the same
}

// TestRemoveWaitsAsLongAsTheServiceWasDeployedWith also after a restart of the proxy.
func TestRemoveWaitsAsLongAsTheServiceWasDeployedWith(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a := testkit.StartApp(t, "app")
	req := requestFor("app", a)
	req.DrainTimeout = testkit.Milliseconds(20)
	e.deploy(req)
	e = newTestEngine(t, withStore(e.store))
	if err := e.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	go e.get("h", "/slow")
	testkit.Receive(t, a.Arrived, "the slow request")
	if r := testkit.Receive(t, e.remove("app", api.RemoveRequest{}), "the removal"); r.err != nil || r.Cut == nil || r.Cut.Requests != 1 {
		t.Errorf("removal %+v, want one request cut", r)
	}
}

// TestRemoveWaitsForOlderDrains lets every target of a service be stopped when
// its removal returns.
func TestRemoveWaitsForOlderDrains(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	old := testkit.StartApp(t, "old")
	e.deploy(requestFor("app", old))
	go e.get("h", "/slow")
	testkit.Receive(t, old.Arrived, "the slow request")
	d := e.start(requestFor("app", testkit.StartApp(t, "new")))
	await(t, d, api.EventDraining, 1)
	var removals []<-chan removal
	for range 2 { // a second removal is no quicker
		removals = append(removals, e.remove("app", api.RemoveRequest{}))
	}
	for gone := false; !gone; {
		status, err := e.Service("app")
		gone = err != nil || status.Active == nil && len(status.Draining) == 1
	}
	for _, done := range removals {
		select {
		case r := <-done:
			t.Fatalf("a removal ends while v1 drains: %+v", r)
		default:
		}
	}
	close(old.Finish)
	for _, done := range removals {
		if r := testkit.Receive(t, done, "the removal"); r.err != nil {
			t.Error(r.err)
		}
	}
}

func TestRemoveEndsDeployments(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	sick := testkit.StartApp(t, "sick")
	sick.Health.Store(http.StatusServiceUnavailable)
	d := e.start(requestFor("app", sick))
	if r := testkit.Receive(t, e.remove("app", api.RemoveRequest{}), "the removal"); r.err != nil || r.Drained != nil {
		t.Errorf("removal %+v", r)
	}
	_, err := wait(t, d)
	wantCode(t, err, api.CodeSuperseded)
	if !strings.Contains(err.Error(), "app was removed") {
		t.Errorf("error %q does not say why", err)
	}
	e.operations.Wait()
	e.checkConsistent()
}

func TestFailedRemoveKeepsServing(t *testing.T) {
	t.Parallel()
	store := &faultyStore{memoryStore: newMemoryStore()}
	e := newTestEngine(t, withStore(store))
	e.store = store.memoryStore
	req := requestFor("app", testkit.StartApp(t, "app"))
	req.HealthCheckInterval = testkit.Milliseconds(60_000)
	e.deploy(req)
	before := e.picture()
	store.onDelete = func(string) error { return errDiskFull }
	_, err := e.Remove("app", api.RemoveRequest{})
	wantCode(t, err, api.CodeStorage)
	_, err = e.Remove("app", api.RemoveRequest{DrainTimeout: testkit.Milliseconds(-1)})
	wantCode(t, err, api.CodeInvalid)
	if after := e.picture(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	e.wantAnswer("h", "/", "app")
}

func TestRemoveOfAnUnknownServiceNamesTheOthers(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	for _, want := range []string{"nothing is deployed yet", "deployed are: app"} {
		_, err := e.Remove("ap\x1bp", api.RemoveRequest{})
		wantCode(t, err, api.CodeNotFound)
		if hint := api.AsError(err).Hint; hint != want || strings.ContainsFunc(err.Error(), api.IsControl) {
			t.Errorf("error %q, hint %q, want %q", err, hint, want)
		}
		e.deploy(requestFor("app", testkit.StartApp(t, "app")))
	}
}
