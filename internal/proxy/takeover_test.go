package proxy

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// takeoverOf is a deploy that takes hosts over, all of them without any.
func takeoverOf(service string, a *testkit.App, hosts ...string) api.DeployRequest {
	req := requestFor(service, a)
	req.Hosts, req.TakeOver = hosts, true
	return req
}

// Renaming a service used to cost 404s: it had to be removed first.
func TestAServiceIsRenamedWithoutLosingARequest(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	old := testkit.StartApp(t, "old")
	req := requestFor("old", old)
	req.Hosts, req.Sticky = []string{"a.test", "b.test"}, true
	e.deploy(req)
	answer := make(chan string, 1)
	go func() {
		_, body := e.get("b.test", "/slow")
		answer <- body
	}()
	testkit.Receive(t, old.Arrived, "the slow request")
	stop := e.hammer(4, "a.test", "/")
	d := e.start(takeoverOf("new", testkit.StartApp(t, "new"), "a.test", "b.test"))
	await(t, d, api.EventSwitched, 1)
	e.wantAnswer("b.test", "/", "new")
	select {
	case <-d.ended:
		t.Error("the deploy has ended while the old service has a request in flight")
	default:
	}
	close(old.Finish)
	if got := testkit.Receive(t, answer, "the slow answer"); got != "old" {
		t.Errorf("the slow request is answered with %q", got)
	}
	status, err := wait(t, d)
	stop()
	want := []api.TakenOver{{Service: "old", Release: 1, Routes: []api.Route{{Host: "a.test", Prefix: "/"}, {Host: "b.test", Prefix: "/"}}, Gone: true}}
	if err != nil || fmt.Sprint(status.TakenOver) != fmt.Sprint(want) || len(status.Drained) != 1 || status.Drained[0].Service != "old" {
		t.Errorf("status %+v, %v, want %v", status, err, want)
	}
	// It starts from what the old one had.
	if s, err := e.Service("new"); err != nil || !s.Active.Options.Sticky {
		t.Errorf("service %+v, %v, want it sticky", s, err)
	}
	if _, err := e.Service("old"); api.ErrorCode(err) != api.CodeNotFound {
		t.Errorf("the old service is still there: %v", err)
	}
	e.checkConsistent()
	loaded(t, e.store).wantAnswer("b.test", "/", "new")
}

// The other service goes on with what it has left, and what is in flight there, too.
func TestAHostMovesFromOneServiceToAnother(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	from := testkit.StartApp(t, "from")
	req := requestFor("from", from)
	req.Hosts, req.CanonicalHost = []string{"a.test", "b.test"}, ""
	e.deploy(req)
	to := testkit.StartApp(t, "to")
	e.deploy(takeoverOf("to", to, "c.test"))
	answer := make(chan string, 1)
	go func() {
		_, body := e.get("a.test", "/slow")
		answer <- body
	}()
	testkit.Receive(t, from.Arrived, "the slow request")
	stop := e.hammer(4, "b.test", "/")
	moving := e.hammer(4, "a.test", "/")
	status := e.deploy(takeoverOf("to", to, "c.test", "a.test"))
	e.wantAnswer("a.test", "/", "to")
	e.wantAnswer("b.test", "/", "from")
	stop()
	moving()
	if len(status.TakenOver) != 1 || status.TakenOver[0].Gone || status.Previous != 1 {
		t.Errorf("status %+v", status)
	}
	close(from.Finish)
	if got := testkit.Receive(t, answer, "the slow answer"); got != "from" {
		t.Errorf("the slow request is answered with %q", got)
	}
	e.settle200("b.test")
	e.checkConsistent()
	again := loaded(t, e.store)
	again.wantAnswer("a.test", "/", "to")
	again.wantAnswer("b.test", "/", "from")
	// The next deploy keeps what is left.
	e.deployPatch(api.Patch{"service": "from", "sticky": true})
	if s, _ := e.Service("from"); !slices.Equal(s.Hosts, []string{"b.test"}) {
		t.Errorf("hosts %q, want b.test", s.Hosts)
	}
	e.checkConsistent()
}

// settle200 waits until nothing is in flight.
func (e *testEngine) settle200(host string) {
	e.t.Helper()
	if status, _ := e.get(host, "/"); status != 200 {
		e.t.Errorf("%s answers %d", host, status)
	}
	e.settle()
}

func TestWhatCannotBeTakenOverIsRefused(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a := testkit.StartApp(t, "app")
	req := requestFor("square", a)
	req.Hosts, req.PathPrefixes = []string{"a.test", "b.test"}, []string{"/x", "/y"}
	e.deploy(req)
	// Three of four routes are no hosts with path prefixes.
	corner := takeoverOf("corner", a, "a.test")
	corner.PathPrefixes = []string{"/x"}
	_, err := e.Deploy(corner.Patch())
	wantCode(t, err, api.CodeRouteConflict)
	if hint := api.AsError(err).Hint; !strings.Contains(hint, "first deploy square") {
		t.Errorf("hint %q", hint)
	}
	row := takeoverOf("row", a, "a.test", "b.test")
	row.PathPrefixes = []string{"/x"}
	e.deploy(row)
	if s, _ := e.Service("square"); !slices.Equal(s.PathPrefixes, []string{"/y"}) {
		t.Errorf("path prefixes %q, want /y", s.PathPrefixes)
	}
	// Without the flag, it says how.
	_, err = e.Deploy(api.Patch{"service": "other", "targets": []string{a.Target}, "hosts": []string{"a.test"}, "path_prefixes": []string{"/x"}})
	wantCode(t, err, api.CodeRouteConflict)
	if hint := api.AsError(err).Hint; !strings.Contains(hint, "add `take_over`") {
		t.Errorf("hint %q", hint)
	}
	e.checkConsistent()
}

// A host must not lose HTTPS because another service takes it over.
func TestATakeoverKeepsTLSOrSaysSo(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t, withCertifier(newFakeCertifier()))
	a := testkit.StartApp(t, "app")
	e.deploy(tlsRequestFor("secure", a, "a.test", "b.test"))
	_, err := e.Deploy(takeoverOf("other", a, "a.test").Patch())
	wantCode(t, err, api.CodeInvalid)
	if e := api.AsError(err); !strings.Contains(e.Message, "would lose it") || !strings.Contains(e.Hint, "`tls.issuer`") {
		t.Errorf("%q, hint %q", e.Message, e.Hint)
	}
	off := takeoverOf("other", a, "a.test").Patch()
	off["tls"] = nil
	e.deployPatch(off)
	e.wantAnswer("a.test", "/", "app")
	// All of it, under another name.
	e.deploy(takeoverOf("renamed", a, "b.test"))
	if s, _ := e.Service("renamed"); !s.TLS {
		t.Error("the renamed service has no TLS")
	}
	e.checkConsistent()
}

// A deployment of the other service that is under way must not bring the routes back.
func TestADeployLosesToATakeoverOfItsRoutes(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a, sick := testkit.StartApp(t, "app"), testkit.StartApp(t, "sick")
	sick.Health.Store(503)
	e.deploy(takeoverOf("from", a, "a.test", "b.test"))
	late := e.start(takeoverOf("from", sick, "a.test", "b.test", "c.test"))
	e.deploy(takeoverOf("to", a, "a.test", "c.test"))
	_, err := wait(t, late)
	wantCode(t, err, api.CodeSuperseded)
	if !strings.Contains(err.Error(), "was taken over by the service to") {
		t.Errorf("error %q", err)
	}
	e.wantAnswer("c.test", "/", "app")
	e.checkConsistent()
}

func TestATakeoverThatCannotBeStoredTakesNothing(t *testing.T) {
	t.Parallel()
	store := &faultyStore{memoryStore: newMemoryStore()}
	e := newTestEngine(t, withStore(store))
	e.store = store.memoryStore
	e.deploy(takeoverOf("from", testkit.StartApp(t, "from"), "a.test", "b.test"))
	store.onSave = func(string) error { return errDiskFull }
	to := testkit.StartApp(t, "to")
	_, err := wait(t, e.start(takeoverOf("to", to, "a.test")))
	wantCode(t, err, api.CodeStorage)
	e.wantAnswer("a.test", "/", "from")
	e.checkConsistent()
	store.onSave = nil
	e.deploy(takeoverOf("to", to, "a.test"))
	e.wantAnswer("a.test", "/", "to")
	e.checkConsistent()
}

// The proxy is killed between the two writes of a switch that moves routes, or the second
// fails: a restart must not bring a service back that has been renamed, nor take the route
// from whoever has it.
func TestATakeoverSurvivesACrashBetweenItsWrites(t *testing.T) {
	t.Parallel()
	for name, hosts := range map[string][]string{"all": {"a.test", "b.test"}, "one": {"a.test"}} {
		t.Run(name, func(t *testing.T) {
			store := &faultyStore{memoryStore: newMemoryStore()}
			e := newTestEngine(t, withStore(store))
			from, to := testkit.StartApp(t, "from"), testkit.StartApp(t, "to")
			e.deploy(takeoverOf("from", from, "a.test", "b.test"))
			store.onDelete = func(string) error { return errDiskFull }
			store.onSave = func(service string) error {
				if service == "from" {
					return errDiskFull
				}
				return nil
			}
			e.deploy(takeoverOf("to", to, hosts...))
			e.deploy(takeoverOf("to", to, hosts...)) // which remembers it
			again := loaded(t, store.memoryStore)
			again.wantAnswer("a.test", "/", "to")
			if len(hosts) == 1 {
				again.wantAnswer("b.test", "/", "from")
			}
			again.checkConsistent()
			// And back, with the same accident.
			store.onSave, store.onDelete = nil, nil
			back := &faultyStore{memoryStore: again.store}
			back.onSave = func(service string) error {
				if service == "to" {
					return errDiskFull
				}
				return nil
			}
			back.onDelete = func(string) error { return errDiskFull }
			again.Attach(back, again.log())
			again.deploy(takeoverOf("from", from, "a.test", "b.test"))
			third := loaded(t, again.store)
			third.wantAnswer("a.test", "/", "from")
			third.checkConsistent()
		})
	}
}

// TestManyTakeoversAtOnce has services take hosts from each other, in every order.
func TestManyTakeoversAtOnce(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	rng := testkit.NewRand(t)
	a := testkit.StartApp(t, "app")
	hosts := []string{"a.test", "b.test", "c.test", "d.test"}
	e.deploy(takeoverOf("s0", a, hosts...))
	var all sync.WaitGroup
	for i := range 4 {
		seed := rng.Uint64()
		all.Go(func() {
			for n := range 25 {
				seed = seed*6364136223846793005 + 1442695040888963407
				bits := seed >> 40
				mine := slices.DeleteFunc(slices.Clone(hosts), func(h string) bool { return bits>>(h[0]-'a')&1 == 0 })
				if len(mine) == 0 {
					continue
				}
				req := takeoverOf(fmt.Sprint("s", i), a, mine...)
				d, err := e.Deploy(req.Patch())
				if err == nil {
					_, err = wait(t, d)
				}
				if code := api.ErrorCode(err); err != nil && code != api.CodeSuperseded {
					t.Errorf("s%d, %d: %v", i, n, err)
				}
			}
		})
	}
	all.Wait()
	e.checkConsistent()
}
