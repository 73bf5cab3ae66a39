package proxy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// snapshotStore remembers what was stored before and after every write.
type snapshotStore struct {
	*memoryStore
	mu        sync.Mutex
	snapshots []map[string][][]byte
}

func (s *snapshotStore) remember() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshots = append(s.snapshots, s.dump())
}

func (s *snapshotStore) Save(ctx context.Context, service string, document []byte, usable func([]byte) bool) error {
	s.remember()
	defer s.remember()
	return s.memoryStore.Save(ctx, service, document, usable)
}

func (s *snapshotStore) Delete(ctx context.Context, service string) error {
	s.remember()
	defer s.remember()
	return s.memoryStore.Delete(ctx, service)
}

// TestAnyOrderOfOperationsComesBackToALegalState does operations in any order, and loads what
// was stored before and after every write, as if the proxy had been killed there.
func TestAnyOrderOfOperationsComesBackToALegalState(t *testing.T) {
	t.Parallel()
	rnd := testkit.NewRand(t)
	apps := []*testkit.App{testkit.StartApp(t, "a"), testkit.StartApp(t, "b"), testkit.StartApp(t, "c")}
	for range 15 {
		store := &snapshotStore{memoryStore: newMemoryStore()}
		e := newTestEngine(t, withStore(store))
		e.store = store.memoryStore
		for range 12 {
			req := requestFor("app", apps[rnd.IntN(len(apps))])
			req.Detach = true
			hour, first := api.Duration(time.Hour), rnd.IntN(2) == 0
			operations := map[string]func() error{
				"deploy": func() error { return e.startAndCommit(req) },
				"keep":   func() error { req.Keep = true; return e.startAndCommit(req) },
				"watch":  func() error { req.Watch = &hour; return e.startAndCommit(req) },
				"canary": func() error { req.Canary = "10%"; return e.startAndCommit(req) },
				"steps":  func() error { req.Steps = []string{"5%/1h", "50%"}; req.Watch = &hour; return e.startAndCommit(req) },
				"slow":   func() error { req.SlowStart = &hour; return e.startAndCommit(req) },
				"rollback": func() error {
					d, err := e.Rollback(t.Context(), "app", api.RollbackRequest{})
					if err == nil {
						_, err = wait(t, d)
					}
					return err
				},
				"promote": func() error { return e.changeRolloutOf(api.RolloutRequest{Action: api.ActionPromote, Full: first}) },
				"abort":   func() error { return e.changeRolloutOf(api.RolloutRequest{Action: api.ActionAbort}) },
				"pause":   func() error { return e.changeRolloutOf(api.RolloutRequest{Action: api.ActionPause}) },
				"resume":  func() error { return e.changeRolloutOf(api.RolloutRequest{Action: api.ActionResume}) },
				"set": func() error {
					return e.changeRolloutOf(api.RolloutRequest{Action: api.ActionSet, Weight: new(api.Percent(rnd.IntN(9999)))})
				},
				"hold":  func() error { _, err := e.Hold(t.Context(), "app", api.Paused, api.HoldRequest{}); return err },
				"serve": func() error { _, err := e.Resume("app", ""); return err },
				"remove": func() error {
					if rnd.IntN(4) > 0 {
						return nil
					}
					_, err := e.Remove("app", api.RemoveRequest{})
					return err
				},
			}
			names := slices.Sorted(maps.Keys(operations))
			name := names[rnd.IntN(len(names))]
			if err := operations[name](); err != nil && !slices.Contains([]api.Code{api.CodeNotFound, api.CodeInvalid, api.CodeReverted, api.CodeSuperseded}, api.ErrorCode(err)) {
				t.Fatalf("%s: %v", name, err)
			}
		}
		e.settleDrains()
		e.checkConsistent()
		for i, documents := range store.snapshots {
			again := NewEngine(EngineOptions{Store: storeOf(documents)})
			if err := again.Load(t.Context()); err != nil {
				t.Fatalf("killed at write %d: %v", i, err)
			}
			for _, s := range again.Services() {
				if s.Broken != "" || s.Active == nil {
					t.Fatalf("killed at write %d: %+v\n%s", i, s, documents[s.Name])
				}
			}
			again.Close()
		}
	}
}

func storeOf(documents map[string][][]byte) *memoryStore {
	s := newMemoryStore()
	for name, generations := range documents {
		s.put(name, generations...)
	}
	return s
}

// startAndCommit deploys, and returns once that has begun to serve, or has failed.
func (e *testEngine) startAndCommit(req api.DeployRequest) error {
	e.t.Helper()
	d, err := e.Deploy(req.Patch())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(e.t.Context(), testkit.Timeout)
	defer cancel()
	committed := errors.New("committed")
	err = d.Events(ctx, func(ev api.Event) error {
		if ev.Kind == api.EventSwitched || ev.Kind == api.EventRollout {
			return committed
		}
		return nil
	})
	if errors.Is(err, committed) {
		return nil
	}
	return err
}

func (e *testEngine) changeRolloutOf(req api.RolloutRequest) error {
	_, err := e.Rollout("app", req)
	return err
}

// settleDrains waits until nothing drains, and only rollouts are under way.
func (e *testEngine) settleDrains() {
	e.t.Helper()
	testkit.WaitFor(e.t, "operations to end", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, s := range e.services {
			l := s.lineup()
			if len(s.draining) > 0 || s.operations > 0 || len(s.committing) > 0 || len(s.deployments) > 0 && (l == nil || l.rollout == nil) || len(s.deployments) > 1 {
				return false
			}
		}
		return true
	})
}

// TestOperationsAtTheSameTime does all of them at once, with requests going: no document may
// be illegal, no request lost, and no operation may hang.
func TestOperationsAtTheSameTime(t *testing.T) {
	t.Parallel()
	rnd := testkit.NewRand(t)
	apps := []*testkit.App{testkit.StartApp(t, "a"), testkit.StartApp(t, "b"), testkit.StartApp(t, "c")}
	store := &faultyStore{memoryStore: newMemoryStore()}
	e := newTestEngine(t, withStore(&legalStore{faultyStore: store, t: t}))
	e.store = store.memoryStore
	e.deploy(requestFor("app", apps[0]))
	stop := e.hammer(4, "h", "/")
	var mu sync.Mutex
	draw := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return rnd.IntN(n)
	}
	var operators sync.WaitGroup
	end := time.Now().Add(3 * time.Second)
	for range 6 {
		operators.Go(func() {
			for time.Now().Before(end) {
				if err := e.anyOperation(requestFor("app", apps[draw(len(apps))]), draw); err != nil {
					t.Error(err)
				}
			}
		})
	}
	operators.Wait()
	stop()
	_ = e.changeRolloutOf(api.RolloutRequest{Action: api.ActionPromote, Full: true})
	e.settleDrains()
	e.checkConsistent()
}

// anyOperation does one operation. Its error is one that no operation may have.
func (e *testEngine) anyOperation(req api.DeployRequest, draw func(int) int) (err error) {
	short := new(api.Duration(time.Duration(10+draw(100)) * time.Millisecond))
	req.Detach = true
	switch draw(11) {
	case 0:
		err = e.startAndCommit(req)
	case 1:
		req.Keep = true
		err = e.startAndCommit(req)
	case 2:
		req.Watch = short
		err = e.startAndCommit(req)
	case 3:
		req.Steps, req.Watch, req.OnInconclusive = []string{"5%/20ms", "50%/20ms", "70%"}, short, api.InconclusivePromote
		err = e.startAndCommit(req)
	case 4:
		req.SlowStart, req.Watch = short, short
		err = e.startAndCommit(req)
	case 5:
		var d *Deployment
		if d, err = e.Rollback(e.t.Context(), "app", api.RollbackRequest{}); err == nil {
			_, err = wait(e.t, d)
		}
	case 6:
		err = e.changeRolloutOf(api.RolloutRequest{Action: api.ActionPromote, Full: draw(2) == 0})
	case 7:
		err = e.changeRolloutOf(api.RolloutRequest{Action: api.ActionAbort})
	case 8:
		_ = e.changeRolloutOf(api.RolloutRequest{Action: api.ActionPause})
		err = e.changeRolloutOf(api.RolloutRequest{Action: api.ActionResume})
	case 9:
		err = e.changeRolloutOf(api.RolloutRequest{Action: api.ActionSet, Weight: new(api.Percent(draw(9999)))})
	case 10:
		if _, err = e.Hold(e.t.Context(), "app", api.Paused, api.HoldRequest{}); err == nil {
			_, err = e.Resume("app", "")
		}
	}
	if slices.Contains([]api.Code{api.CodeNotFound, api.CodeInvalid, api.CodeReverted, api.CodeSuperseded, api.CodeUndecided}, api.ErrorCode(err)) {
		return nil
	}
	return err
}

// legalStore fails the test if a document is stored that would not load, and takes its time.
type legalStore struct {
	*faultyStore
	t *testing.T
}

func (s *legalStore) Save(ctx context.Context, service string, document []byte, usable func([]byte) bool) error {
	if _, err := decodeDocument(service, document); err != nil {
		s.t.Errorf("%v:\n%s", err, document)
	}
	time.Sleep(time.Millisecond) // as a disk does
	return s.faultyStore.Save(ctx, service, document, usable)
}

// try begins to bring a release into service.
func (e *testEngine) try(app *testkit.App, how func(*api.DeployRequest)) {
	e.t.Helper()
	req := requestFor("app", app)
	req.Detach = true
	how(&req)
	if err := e.startAndCommit(req); err != nil {
		e.t.Fatal(err)
	}
}

func forAnHour(req *api.DeployRequest) { req.Watch = new(api.Duration(time.Hour)) }

// What the check says about a step does not count for what comes after it, and not if somebody
// has stopped the clock meanwhile.
func TestAnswerOfTheCheckIsAboutItsStep(t *testing.T) {
	t.Parallel()
	for action, want := range map[api.RolloutAction]api.RolloutPhase{api.ActionPromote: api.PhaseWatch, api.ActionPause: api.PhaseCanary} {
		asked, answerIt, answered := make(chan struct{}, 10), make(chan struct{}), make(chan struct{}, 10)
		check := testkit.StartHandler(t, func(w http.ResponseWriter, _ *http.Request) {
			asked <- struct{}{}
			<-answerIt
			answered <- struct{}{}
		})
		e := newTestEngine(t)
		e.deploy(requestFor("app", testkit.StartApp(t, "a")))
		e.try(testkit.StartApp(t, "b"), func(req *api.DeployRequest) {
			forAnHour(req)
			req.Steps, req.CheckURL, req.OnInconclusive = []string{"10%/20ms"}, "http://"+check.Target+"/", api.InconclusivePromote
		})
		<-asked
		if err := e.changeRolloutOf(api.RolloutRequest{Action: action}); err != nil {
			t.Fatal(err)
		}
		close(answerIt)
		<-answered
		for range 20 { // more than the clock needs
			s, _ := e.Service("app")
			if s.Rollout == nil || s.Rollout.Phase != want {
				t.Fatalf("%s: %+v", action, s.Rollout)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

func TestRollbackSkipsWhatWasTakenBack(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.deploy(requestFor("app", testkit.StartApp(t, "v1")))
	e.try(testkit.StartApp(t, "v2"), forAnHour)
	if err := e.changeRolloutOf(api.RolloutRequest{Action: api.ActionAbort}); err != nil {
		t.Fatal(err)
	}
	e.deploy(requestFor("app", testkit.StartApp(t, "v3")))
	d, err := e.Rollback(t.Context(), "app", api.RollbackRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if status, err := wait(t, d); err != nil || status.From != 1 {
		t.Errorf("it goes back to v%d, %v", status.From, err)
	}
}

func TestDeployDuringTheDrainOfARollback(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.deploy(requestFor("app", testkit.StartApp(t, "a")))
	b := testkit.StartApp(t, "b")
	e.try(b, forAnHour)
	go e.get("h", "/slow")
	<-b.Arrived
	turn, err := e.Rollback(t.Context(), "app", api.RollbackRequest{Detach: true})
	if err != nil {
		t.Fatal(err)
	}
	await(t, turn, api.EventSwitched, 1)
	d, err := e.Deploy(requestFor("app", testkit.StartApp(t, "c")).Patch())
	if err != nil {
		t.Fatal(err)
	}
	await(t, d, api.EventSwitched, 1)
	close(b.Finish)
	if _, err := wait(t, d); err != nil {
		t.Error(err)
	}
}

func TestNobodyTakesRoutesOfAReleaseOnStandby(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	req := requestFor("app", testkit.StartApp(t, "a"))
	req.Hosts = []string{"a.test", "b.test"}
	e.deploy(req)
	e.try(testkit.StartApp(t, "b"), func(req *api.DeployRequest) { forAnHour(req); req.Hosts = []string{"a.test"} })
	req = requestFor("other", testkit.StartApp(t, "other"))
	req.Hosts, req.TakeOver = []string{"b.test"}, true
	_, err := e.Deploy(req.Patch())
	wantCode(t, err, api.CodeRouteConflict)
	if err := e.changeRolloutOf(api.RolloutRequest{Action: api.ActionAbort}); err != nil {
		t.Fatal(err)
	}
	e.wantAnswer("b.test", "/", "a")
	e.settleDrains()
	e.checkConsistent()
}

// A canary is promoted long after its deploy has ended.
func TestDeploymentThatHasEndedStaysAsItEnded(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.deploy(requestFor("app", testkit.StartApp(t, "a")))
	req := requestFor("app", testkit.StartApp(t, "b"))
	req.Canary = "10%"
	d := e.start(req)
	_, err := wait(t, d)
	wantCode(t, err, api.CodeUndecided)
	if err := e.changeRolloutOf(api.RolloutRequest{Action: api.ActionPromote}); err != nil {
		t.Fatal(err)
	}
	if s := d.Status(); s.State != api.StateUndecided {
		t.Errorf("it is %s", s.State)
	}
}

// An outage of what both releases need is no reason to go back, also when it is over.
func TestOutageThatEndsRevertsNothing(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	answer := func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			w.WriteHeader(500)
		}
	}
	e := newTestEngine(t)
	e.askPause = 200 * time.Millisecond
	a, b := testkit.StartHandler(t, answer), testkit.StartHandler(t, answer)
	e.deploy(requestFor("app", a))
	e.try(b, func(req *api.DeployRequest) { req.Watch = new(api.Duration(20 * time.Second)) })
	visit := func() {
		for i := range 50 {
			r := e.request("GET", "h", "/", nil)
			r.Header.Set("X-Test-Trusted", "1")
			r.Header.Set("X-Forwarded-For", fmt.Sprintf("192.0.2.%d", i))
			e.do(r)
		}
	}
	visit()
	down.Store(true)
	a.Health.Store(503)
	b.Health.Store(503)
	testkit.WaitFor(t, "the outage to be seen", func() bool {
		visit()
		s, _ := e.Service("app")
		return s.Rollout == nil || strings.Contains(s.Rollout.Waiting, "cannot take over")
	})
	down.Store(false)
	a.Health.Store(200)
	b.Health.Store(200)
	testkit.WaitFor(t, "the end of the outage to be seen", func() bool {
		visit()
		s, _ := e.Service("app")
		return s.Rollout == nil || s.Rollout.Waiting == "" && s.Rollout.Evidence.Requests > 100
	})
	if s, _ := e.Service("app"); s.Active.Release != 2 {
		t.Errorf("v%d serves", s.Active.Release)
	}
}

// A release that is judged anew after an outage has failed in nothing yet, which does not say that the outage is over.
func TestOutageIsNotOverBecauseNothingHasFailedYet(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.deploy(requestFor("app", testkit.StartApp(t, "v1")))
	e.try(testkit.StartApp(t, "v2"), func(req *api.DeployRequest) { req.Watch = new(api.Duration(time.Minute)) })
	r := e.services["app"].lineup().rollout
	r.noteOutage("it answers nobody", "v2 fails", time.Hour)
	r.advance(0, false)
	if s, _ := e.Service("app"); !strings.Contains(s.Rollout.Waiting, "cannot take over") {
		t.Errorf("the outage is forgotten: %+v", s.Rollout)
	}
}

// Two that have seen the same cannot both be first.
func TestIfMatchLetsOneOfTwoPass(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.deploy(requestFor("app", testkit.StartApp(t, "a")))
	s, _ := e.Service("app")
	errs := make(chan error, 8)
	for range cap(errs) {
		go func() {
			_, err := e.Hold(t.Context(), "app", api.Stopped, api.HoldRequest{IfMatch: `"` + s.Generation + `"`})
			errs <- err
		}()
	}
	passed := 0
	for range cap(errs) {
		if err := <-errs; err == nil {
			passed++
		} else {
			wantCode(t, err, api.CodeChanged)
		}
	}
	if passed != 1 {
		t.Errorf("%d of %d passed", passed, cap(errs))
	}
}

// A thousand requests that wait are all answered by the release that is deployed meanwhile.
func TestThousandHeldRequestsGetTheNextRelease(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.deploy(requestFor("app", testkit.StartApp(t, "old")))
	if _, err := e.Hold(t.Context(), "app", api.Paused, api.HoldRequest{}); err != nil {
		t.Fatal(err)
	}
	answers := make(chan string, 1000)
	for range 1000 {
		go func() {
			_, body := e.get("h", "/")
			answers <- body
		}()
	}
	testkit.WaitFor(t, "a thousand requests", func() bool { s, _ := e.Service("app"); return s.Hold.Waiting == 1000 })
	if status, _ := e.get("h", "/"); status != 503 {
		t.Errorf("one more gets %d", status)
	}
	e.deploy(requestFor("app", testkit.StartApp(t, "new")))
	if _, err := e.Resume("app", ""); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if body := <-answers; body != "new" {
			t.Fatalf("one is answered by %q", body)
		}
	}
}
