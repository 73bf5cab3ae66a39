package proxy

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

func TestStatusShowsTraffic(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	old := testkit.StartApp(t, "old")
	e.deploy(requestFor("app", old))
	for range 3 {
		e.wantAnswer("h", "/", "old")
	}
	e.settle()
	go e.get("h", "/slow")
	testkit.Receive(t, old.Arrived, "the slow request")
	s, err := e.Service("app")
	if err != nil || s.Active.Requests != 1 || s.Active.Targets[0].Requests != 1 || s.Served != 4 || s.Active.Served != 4 {
		t.Errorf("%+v, %v, want one request in flight and 4 served", s, err)
	}
	d := e.start(requestFor("app", testkit.StartApp(t, "new")))
	await(t, d, api.EventSwitched, 1)
	e.wantAnswer("h", "/", "new")
	if s, _ = e.Service("app"); s.Served != 5 || s.Active.Served != 1 || len(s.Draining) != 1 || s.Draining[0].Served != 4 {
		t.Errorf("during the drain %+v, want 5 served, 4 of them by v1", s)
	}
	close(old.Finish)
	_, _ = wait(t, d)
	if s, _ = e.Service("app"); s.Served != 5 || len(s.Draining) != 0 {
		t.Errorf("after the drain %+v, want 5 served", s)
	}
}

// TestStatusHasNoNulls because scripts iterate over lists.
func TestStatusHasNoNulls(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	if b, _ := json.Marshal(e.Services()); string(b) != "[]" {
		t.Errorf("without services: %s", b)
	}
	e.store.put("broken", []byte("{"))
	if err := e.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.deploy(requestFor("app", testkit.StartApp(t, "app")))
	b, err := json.Marshal(e.Services())
	if err != nil || strings.Contains(string(b), "null") {
		t.Errorf("%s, %v", b, err)
	}
}

// Nobody is told of a deployment without a caller but who asks for the status.
func TestStatusTellsThatTheLastDeploymentFailed(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	fail := func(service string) api.DeploymentStatus {
		t.Helper()
		d, err := e.Deploy(api.DeployRequest{Service: service, Targets: []string{testkit.RefusedAddress}, Hosts: []string{service + ".test"}, DeployTimeout: testkit.Milliseconds(50), Detach: true}.Patch())
		if err != nil {
			t.Fatal(err)
		}
		_, err = wait(t, d)
		wantCode(t, err, api.CodeNotHealthy)
		return d.Status()
	}
	failed := func(service string) *api.DeploymentStatus {
		t.Helper()
		s, err := e.Service(service)
		if err != nil {
			t.Fatal(err)
		}
		return s.FailedDeployment
	}
	good := requestFor("app", testkit.StartApp(t, "a"))
	good.Hosts = []string{"app.test"}
	e.deploy(good)
	if f := failed("app"); f != nil {
		t.Errorf("before any failure: %+v", f)
	}
	want := fail("app")
	fail("other")
	if f := failed("app"); f == nil || f.ID != want.ID || f.Error == nil || f.Ended == nil {
		t.Errorf("after a failure: %+v, want %s", f, want.ID)
	}
	if all := e.Services(); len(all) != 1 || all[0].FailedDeployment != nil {
		t.Errorf("the list, which is to cost little, looks for it: %+v", all)
	}
	// A service that never came to be.
	_, err := e.Service("other")
	wantCode(t, err, api.CodeNotFound)
	if got := api.AsError(err); !strings.Contains(got.Message, "there is no service other; its last deployment, ") || len(got.Details) != 1 {
		t.Errorf("%q, %+v", got.Message, got.Details)
	}
	e.deploy(good)
	if f := failed("app"); f != nil {
		t.Errorf("after a deployment that succeeded: %+v", f)
	}
}

func TestSupersededDeploymentDoesNotHideTheFailureOfItsSuccessor(t *testing.T) {
	l := newDeploymentLog()
	older, newer := newDeployment(api.Spec{Service: "app"}), newDeployment(api.Spec{Service: "app"})
	l.add(newer)
	l.add(older) // as if it had been the last
	newer.finish(errDiskFull, 1)
	if f := l.failed("app"); f == nil || f.ID != newer.id {
		t.Errorf("%+v while another one runs, want %s", f, newer.id)
	}
	older.finish(&api.Error{Code: api.CodeSuperseded}, 1)
	if f := l.failed("app"); f == nil || f.ID != newer.id {
		t.Errorf("%+v, want %s", f, newer.id)
	}
	if f := l.failed("other"); f != nil {
		t.Errorf("another service has %+v", f)
	}
}
