package proxy

import (
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// A deploy that comes while another one is being stored keeps what that one changes, if it
// does change it.
func TestADeployKeepsWhatTheOneBeforeItStores(t *testing.T) {
	t.Parallel()
	for name, outcome := range map[string]error{"stored": nil, "not stored": errDiskFull} {
		t.Run(name, func(t *testing.T) {
			store := &faultyStore{memoryStore: newMemoryStore()}
			e := newTestEngine(t, withStore(store))
			a := testkit.StartApp(t, "app")
			e.deploy(requestFor("app", a))
			saving, proceed := make(chan struct{}), make(chan struct{})
			store.onSave = func(string) error {
				close(saving)
				<-proceed
				return outcome
			}
			sticky := e.startPatch(api.Patch{"service": "app", "sticky": true})
			testkit.Receive(t, saving, "the write of the first")
			store.onSave = nil
			if outcome != nil { // it is over before the second is accepted
				close(proceed)
				_, err := wait(t, sticky)
				wantCode(t, err, api.CodeStorage)
			}
			second := e.startPatch(api.Patch{"service": "app", "hold_timeout": "1s"})
			if outcome == nil {
				close(proceed)
			}
			if _, err := wait(t, second); err != nil {
				t.Fatal(err)
			}
			s, err := e.Service("app")
			if err != nil || s.Active.Options.Sticky != (outcome == nil) || s.Active.Options.HoldTimeout.String() != "1s" {
				t.Errorf("the options are %+v, %v", s.Active.Options, err)
			}
		})
	}
}

func TestPlanChangesNothing(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a := testkit.StartApp(t, "app")
	plan, err := e.Plan(requestFor("app", a).Patch())
	if err != nil || plan.Serving != 0 || len(plan.Changes) == 0 {
		t.Errorf("plan %+v, %v, want a new service", plan, err)
	}
	if services := e.Services(); len(services) != 0 {
		t.Errorf("services %+v", services)
	}
	e.deploy(requestFor("app", a))
	if plan, err = e.Plan(requestFor("app", a).Patch()); err != nil || plan.Serving != 1 || len(plan.Changes) != 0 {
		t.Errorf("plan %+v, %v, want no change", plan, err)
	}
	_, err = e.Plan(api.Patch{"service": "other", "targets": []string{a.Target}, "hosts": []string{}})
	wantCode(t, err, api.CodeRouteConflict)
	e.checkConsistent()
}

// A broken service serves nothing, whatever is known of it.
func TestABrokenServiceIsNotUnchanged(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	req := requestFor("one", testkit.StartApp(t, "a"))
	req.Hosts = []string{"a.test"}
	e.deploy(req)
	e.store.put("two", []byte(strings.Replace(string(e.store.dump()["one"][0]), `"service": "one"`, `"service": "two"`, 1)))
	again := loaded(t, e.store)
	if _, err := again.Remove("one", api.RemoveRequest{}); err != nil {
		t.Fatal(err)
	}
	req.Service, req.Reset = "two", true
	if plan, err := again.Plan(req.Patch()); err != nil || !plan.Changed() {
		t.Errorf("plan %+v, %v", plan, err)
	}
}
