package proxy

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestStatusShowsTraffic(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	old := startApp(t, "old")
	e.deploy(requestFor("app", old))
	for range 3 {
		e.wantAnswer("h", "/", "old")
	}
	e.settle()
	go e.get("h", "/slow")
	receive(t, old.arrived, "the slow request")
	s, err := e.Service("app")
	if err != nil || s.Active.Requests != 1 || s.Active.Targets[0].Requests != 1 || s.Served != 4 || s.Active.Served != 4 {
		t.Errorf("%+v, %v, want one request in flight and 4 served", s, err)
	}
	d := e.start(requestFor("app", startApp(t, "new")))
	await(t, d, EventSwitched, 1)
	e.wantAnswer("h", "/", "new")
	if s, _ = e.Service("app"); s.Served != 5 || s.Active.Served != 1 || len(s.Draining) != 1 || s.Draining[0].Served != 4 {
		t.Errorf("during the drain %+v, want 5 served, 4 of them by v1", s)
	}
	close(old.finish)
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
	e.deploy(requestFor("app", startApp(t, "app")))
	b, err := json.Marshal(e.Services())
	if err != nil || strings.Contains(string(b), "null") {
		t.Errorf("%s, %v", b, err)
	}
}
