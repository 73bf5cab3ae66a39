package proxy

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

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
			if got := string(store.dump()["from"][0]); !strings.Contains(got, "a.test") {
				t.Errorf("a load, which `caddy validate` does as well, has stored %s", got)
			}
			again.Start()
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
			third.Start()
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

// What only a deployment of another service wants is taken from that alone.
func TestATakeoverOfWhatOnlyADeploymentWantsLeavesTheOtherServiceAsItIs(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t, withCertifier(newFakeCertifier()))
	a, sick := testkit.StartApp(t, "app"), testkit.StartApp(t, "sick")
	sick.Health.Store(503)
	e.deploy(tlsRequestFor("victim", a, "a.test"))
	late := e.start(tlsRequestFor("victim", sick, "a.test", "b.test"))
	if plan, err := e.Plan(takeoverOf("taker", a, "b.test").Patch()); err != nil || len(plan.TakenOver) != 0 {
		t.Errorf("plan %+v, %v", plan, err)
	}
	if status := e.deploy(takeoverOf("taker", a, "b.test")); len(status.TakenOver) != 0 {
		t.Errorf("taken over: %v", status.TakenOver)
	}
	_, err := wait(t, late)
	wantCode(t, err, api.CodeSuperseded)
	e.wantAnswer("b.test", "/", "app")
	e.checkConsistent()
}

// A deploy that builds on one which could not be stored must not keep its routes.
func TestADeployDoesNotKeepWhatCouldNotBeStored(t *testing.T) {
	t.Parallel()
	store := &faultyStore{memoryStore: newMemoryStore()}
	e := newTestEngine(t, withStore(store))
	e.store = store.memoryStore
	e.deploy(takeoverOf("victim", testkit.StartApp(t, "victim"), "a.test"))
	to := testkit.StartApp(t, "taker")
	e.deploy(takeoverOf("taker", to, "c.test"))
	saving, fail := make(chan struct{}), make(chan struct{})
	var once sync.Once
	store.onSave = func(string) (err error) {
		once.Do(func() {
			close(saving)
			<-fail
			err = errDiskFull
		})
		return err
	}
	first := e.start(takeoverOf("taker", to, "a.test", "c.test"))
	testkit.Receive(t, saving, "the write of the first")
	next := e.startPatch(api.Patch{"service": "taker", "targets": []string{to.Target}})
	close(fail)
	for _, d := range []*Deployment{first, next} {
		_, err := wait(t, d)
		wantCode(t, err, api.CodeStorage)
	}
	e.wantAnswer("a.test", "/", "victim")
	e.checkConsistent()
}

// A deploy tool that tries again must not lose what it carries on.
func TestARenameThatIsTriedAgainKeepsTheSettings(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a, slow := testkit.StartApp(t, "a"), testkit.StartApp(t, "b")
	req := requestFor("old", a)
	req.Hosts, req.Sticky = []string{"a.test"}, true
	e.deploy(req)
	slow.Health.Store(503)
	first := e.start(takeoverOf("new", slow, "a.test"))
	second := e.start(takeoverOf("new", slow, "a.test"))
	slow.Health.Store(200)
	_, _ = wait(t, first)
	if _, err := wait(t, second); err != nil {
		t.Fatal(err)
	}
	if s, _ := e.Service("new"); !s.Active.Options.Sticky {
		t.Errorf("options %+v", s.Active.Options)
	}
	e.checkConsistent()
}

// The other service gets HTTPS while the deployment that takes its host over is probing.
func TestATakeoverDoesNotTakeTLSThatCameMeanwhile(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t, withCertifier(newFakeCertifier()))
	a, slow := testkit.StartApp(t, "a"), testkit.StartApp(t, "b")
	e.deploy(takeoverOf("victim", a, "a.test"))
	slow.Health.Store(503)
	d := e.start(takeoverOf("taker", slow, "a.test", "c.test"))
	e.deploy(tlsRequestFor("victim", a, "a.test"))
	slow.Health.Store(200)
	_, err := wait(t, d)
	wantCode(t, err, api.CodeInvalid)
	if s, _ := e.Service("victim"); !s.TLS {
		t.Error("a.test has lost HTTPS")
	}
	e.checkConsistent()
}

// A service that is stopped stays that under another name, also after a restart.
func TestAServiceThatIsHeldIsHeldUnderItsNewName(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a := testkit.StartApp(t, "a")
	e.deploy(takeoverOf("app", a, "a.test"))
	e.holdAs(api.Stopped, api.HoldRequest{})
	e.deploy(takeoverOf("renamed", a, "a.test"))
	for _, engine := range []*testEngine{e, loaded(t, e.store)} {
		if status, _ := engine.get("a.test", "/"); status != 503 {
			t.Errorf("it answers %d", status)
		}
	}
	if _, err := e.Resume("renamed", ""); err != nil {
		t.Fatal(err)
	}
	e.wantAnswer("a.test", "/", "a")
	e.checkConsistent()
}

// A rollback goes back to what is left of a release that others have taken routes from.
func TestRollbackGoesBackToWhatIsLeft(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a, b := testkit.StartApp(t, "a"), testkit.StartApp(t, "b")
	e.deploy(takeoverOf("from", a, "a.test", "b.test"))
	e.deploy(takeoverOf("to", a, "b.test"))
	e.deployPatch(api.Patch{"service": "from", "targets": []string{b.Target}})
	if _, err := e.rollback("from", api.RollbackRequest{}); err != nil {
		t.Fatalf("%v, hint %q", err, api.AsError(err).Hint)
	}
	e.wantAnswer("a.test", "/", "a")
	e.checkConsistent()
}

// A certificate of one's own goes on to be renewed for the hosts that are left.
func TestAKeyPairIsForTheHostsThatAreLeft(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t, withCertifier(newFakeCertifier()))
	a := testkit.StartApp(t, "a")
	files := newPEMFiles(t, "a.test", "b.test")
	req := requestFor("from", a)
	req.Hosts, req.TLS = []string{"a.test", "b.test"}, files.request()
	e.deploy(req)
	to := takeoverOf("to", a, "b.test")
	to.TLS = &api.TLSRequest{}
	e.deploy(to)
	files.write("a.test") // renewed
	r := e.services["from"].release()
	r.keyPair.reload(zap.NewNop(), time.Now())
	if problem := r.keyPair.current.Load().problem; problem != nil {
		t.Errorf("the renewed certificate is not used: %v", problem)
	}
}

// The document of a service that is gone could not be removed. It must not come back when
// the one that has taken its place is removed.
func TestAServiceThatIsGoneDoesNotComeBack(t *testing.T) {
	t.Parallel()
	store := &faultyStore{memoryStore: newMemoryStore()}
	e := newTestEngine(t, withStore(store))
	e.store = store.memoryStore
	a := testkit.StartApp(t, "a")
	e.deploy(takeoverOf("old", a, "a.test"))
	store.onDelete = func(string) error { return errDiskFull }
	e.deploy(takeoverOf("new", a, "a.test"))
	store.onDelete = nil
	if _, err := e.Remove("new", api.RemoveRequest{}); err != nil {
		t.Fatal(err)
	}
	if services := loaded(t, store.memoryStore).Services(); len(services) != 0 {
		t.Errorf("services %+v", services)
	}
}

// A service that took a host over and gave it up again must not take it back when it falls
// back to the generation of its document before.
func TestAnOldTakeoverDoesNotCountAgainstANewerRelease(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a := testkit.StartApp(t, "a")
	e.deploy(takeoverOf("from", a, "a.test", "b.test"))
	e.deploy(takeoverOf("to", a, "a.test", "c.test"))
	plain := requestFor("to", a)
	plain.Hosts = []string{"c.test"}
	e.deploy(plain)
	back := requestFor("from", a)
	back.Hosts = []string{"a.test", "b.test"}
	e.deploy(back)
	generations := e.store.dump()["to"]
	e.store.put("to", []byte("torn"), generations[1])
	again := loaded(t, e.store)
	if s, err := again.Service("from"); err != nil || s.Broken != "" || !slices.Contains(s.Hosts, "a.test") {
		t.Errorf("service %+v, %v", s, err)
	}
}
