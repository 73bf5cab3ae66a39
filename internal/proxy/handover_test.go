package proxy

import (
	"errors"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// followersOf are the engines that follow one, each in this process.
type followersOf struct {
	mu  sync.Mutex
	all []*testEngine
}

func (f *followersOf) set(all ...*testEngine) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = all
}

func (f *followersOf) get() []*testEngine {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all
}

func (f *followersOf) Apply(service string, document []byte) {
	for _, e := range f.get() {
		if err := e.Apply(service, document); err != nil && api.ErrorCode(err) != api.CodeStopping {
			e.t.Errorf("a follower: %v", err)
		}
	}
}

func (f *followersOf) Drain(service string, release int, progress func(requests, streams int)) (all []api.Drain) {
	for _, e := range f.get() {
		d, err := e.DrainOld(e.t.Context(), service, release, progress)
		if err != nil && e.t.Context().Err() == nil {
			e.t.Errorf("a follower: %v: %q", err, e.situation())
		}
		if d.Requests+d.Streams > 0 {
			all = append(all, d)
		}
	}
	return all
}

// processes are engines that take over from each other, as the processes of a proxy do that is
// upgraded. They share what is stored.
type processes struct {
	t         *testing.T
	store     *memoryStore
	followers map[*testEngine]*followersOf
	// mu guards leader.
	mu     sync.Mutex
	leader *testEngine
}

func newProcesses(t *testing.T) *processes {
	p := &processes{t: t, store: newMemoryStore(), followers: make(map[*testEngine]*followersOf)}
	p.leader = p.next()
	p.leader.Lead()
	return p
}

// next returns an engine that has loaded what is stored, has started, and follows.
func (p *processes) next() *testEngine {
	p.t.Helper()
	followers := new(followersOf)
	e := newTestEngine(p.t, withStore(p.store), func(o *EngineOptions) { o.Followers = followers })
	e.store = p.store
	p.followers[e] = followers
	e.Follow()
	if err := e.Load(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	e.Start()
	return e
}

// upgrade has the next engine take over from the one that leads.
func (p *processes) upgrade() (old, next *testEngine) {
	p.t.Helper()
	old, next = p.lead(), p.next()
	old.Follow()
	if err := next.Refresh(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	p.followers[next].set(append(p.followers[old].get(), old)...)
	next.Lead()
	p.mu.Lock()
	p.leader = next
	p.mu.Unlock()
	return old, next
}

func (p *processes) lead() *testEngine {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leader
}

// TestUpgradesAmongDeploysLoseNothing: no request at either process, no deploy, and the newest
// process serves what was deployed last.
func TestUpgradesAmongDeploysLoseNothing(t *testing.T) {
	t.Parallel()
	rnd := testkit.NewRand(t)
	apps := []*testkit.App{testkit.StartApp(t, "a"), testkit.StartApp(t, "b"), testkit.StartApp(t, "c")}
	p := newProcesses(t)
	p.lead().deploy(requestFor("app", apps[0]))
	var stops []func()
	stops = append(stops, p.lead().hammer(1, "h", "/"))
	over := make(chan struct{})
	var operators sync.WaitGroup
	var done, moved atomic.Int64
	var mu sync.Mutex
	draw := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return rnd.IntN(n)
	}
	for range 2 {
		operators.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				switch err := p.lead().anyOperation(requestFor("app", apps[draw(len(apps))]), draw); {
				case errors.Is(err, ErrElsewhere):
					moved.Add(1)
				case err != nil:
					t.Error(err)
				default:
					done.Add(1)
				}
			}
		})
	}
	const upgrades = 12
	for range upgrades {
		_, next := p.upgrade()
		stops = append(stops, next.hammer(1, "h", "/"))
		if len(stops) > 3 { // as many linger
			stops[0]()
			stops = stops[1:]
			followers := p.followers[next].get()
			p.followers[next].set(followers[len(followers)-2:]...)
		}
		before := done.Load()
		testkit.WaitFor(t, "an operation", func() bool { return done.Load() > before })
	}
	close(over)
	operators.Wait()
	leader := p.lead()
	_ = leader.changeRolloutOf(api.RolloutRequest{Action: api.ActionPromote, Full: true})
	for _, stop := range stops {
		stop()
	}
	t.Logf("%d upgrades, %d operations, %d of them asked of a process that followed", upgrades, done.Load(), moved.Load())
	leader.settleDrains()
	leader.checkConsistent()
	for _, follower := range p.followers[leader].get() {
		follower.settleDrains()
		if a, b := leader.situation(), follower.situation(); !maps.Equal(a, b) {
			t.Errorf("the leader has %q, a follower %q", a, b)
		}
	}
}

// TestDeployAfterAnUpgradeDrainsTheOldProcessToo, as it is what still has clients.
func TestDeployAfterAnUpgradeDrainsTheOldProcessToo(t *testing.T) {
	t.Parallel()
	begun, goOn := make(chan struct{}), make(chan struct{})
	p := newProcesses(t)
	p.lead().deploy(requestFor("app", testkit.StartHandler(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(begun)
			<-goOn
		}
	})))
	answered := make(chan int, 1)
	go func() {
		status, _ := p.lead().get("h", "/slow")
		answered <- status
	}()
	testkit.Receive(t, begun, "the request")
	old, next := p.upgrade()
	d := next.start(requestFor("app", testkit.StartApp(t, "b")))
	await(t, d, api.EventSwitched, 1)
	old.wantAnswer("h", "/", "b")
	if ev := await(t, d, api.EventDraining, 2); ev.Requests != 1 {
		t.Errorf("it is told that %d requests are left, want that of the old process", ev.Requests)
	}
	if state := d.Status().State; state != api.StateDraining {
		t.Errorf("with a request at the old process: %s", state)
	}
	close(goOn)
	if status, err := wait(t, d); err != nil || status.Drained[0].Requests != 1 || status.Drained[0].CutRequests != 0 {
		t.Errorf("%v, %+v, want a drain of 1 request", err, status.Drained)
	}
	if status := testkit.Receive(t, answered, "the answer"); status != http.StatusOK {
		t.Errorf("the request at the old process: %d", status)
	}
}

// TestDeploymentsThatProbeDuringAnUpgradeEndElsewhere: whoever waits can ask the new process.
func TestDeploymentsThatProbeDuringAnUpgradeEndElsewhere(t *testing.T) {
	t.Parallel()
	p := newProcesses(t)
	p.lead().deploy(requestFor("app", testkit.StartApp(t, "a")))
	req := requestFor("app")
	req.Targets = []string{testkit.RefusedAddress}
	d := p.lead().start(req)
	old, next := p.upgrade()
	if _, err := wait(t, d); !errors.Is(err, ErrElsewhere) {
		t.Error(err)
	}
	for what, do := range map[string]func() error{
		"deploy": func() error { _, err := old.Deploy(req.Patch()); return err },
		"remove": func() error { _, err := old.Remove("app", api.RemoveRequest{}); return err },
		"pause": func() error {
			_, err := old.Hold(t.Context(), "app", api.Paused, api.HoldRequest{})
			return err
		},
		"rollback": func() error { _, err := old.Rollback(t.Context(), "app", api.RollbackRequest{}); return err },
		"promote":  func() error { return old.changeRolloutOf(api.RolloutRequest{Action: api.ActionPromote}) },
	} {
		if err := do(); !errors.Is(err, ErrElsewhere) {
			t.Errorf("%s: %v", what, err)
		}
	}
	next.deploy(requestFor("app", testkit.StartApp(t, "b")))
	old.wantAnswer("h", "/", "b")
	// The new process dies: the old one decides again.
	old.Lead()
	old.deploy(requestFor("app", testkit.StartApp(t, "c")))
	old.wantAnswer("h", "/", "c")
}

// TestFollowerSaysThatAnotherProcessTells of what happens, so that nobody is told twice.
func TestFollowerSaysThatAnotherProcessTells(t *testing.T) {
	t.Parallel()
	p := newProcesses(t)
	p.lead().deploy(requestFor("app", testkit.StartApp(t, "a")))
	old, next := p.upgrade()
	feeds := make(map[*testEngine]*FeedReader)
	for _, e := range []*testEngine{old, next} {
		reader, err := e.Feed("")
		if err != nil {
			t.Fatal(err)
		}
		feeds[e] = reader
	}
	next.deploy(requestFor("app", testkit.StartApp(t, "b")))
	if _, err := next.Remove("app", api.RemoveRequest{}); err != nil {
		t.Fatal(err)
	}
	for e, reader := range feeds {
		for removed := false; !removed; {
			events, err := reader.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, ev := range events {
				if ev.Data.Followed != (e == old) {
					t.Errorf("old process: %t, %s: %t", e == old, ev.Data.Kind, ev.Data.Followed)
				}
				removed = removed || ev.Data.Kind == api.EventRemoved
			}
		}
	}
}

// TestRolloutsGoOnInTheNewProcess, and in the old one if the new one dies.
func TestRolloutsGoOnInTheNewProcess(t *testing.T) {
	t.Parallel()
	p := newProcesses(t)
	p.lead().deploy(requestFor("app", testkit.StartApp(t, "a")))
	p.lead().try(testkit.StartApp(t, "b"), func(r *api.DeployRequest) { r.Watch = new(api.Duration(time.Hour)) })
	old, next := p.upgrade()
	for _, e := range []*testEngine{next, old} {
		s, err := e.Service("app")
		if err != nil || s.Rollout == nil || s.Rollout.Phase != api.PhaseWatch || s.Active.Release != 2 {
			t.Fatalf("%+v, %v", s.Rollout, err)
		}
	}
	next.Follow() // as it would be if it had died
	old.Lead()
	if err := old.changeRolloutOf(api.RolloutRequest{Action: api.ActionAbort}); err != nil {
		t.Error(err)
	}
	old.wantAnswer("h", "/", "a")
	old.settleDrains()
	old.checkConsistent()
}

// TestWhoWaitsForARolloutIsToldByTheOldProcess how it has ended in the new one.
func TestWhoWaitsForARolloutIsToldByTheOldProcess(t *testing.T) {
	t.Parallel()
	for action, want := range map[api.RolloutAction]struct {
		code  api.Code
		state api.State
	}{
		api.ActionPromote: {"", api.StateDone},
		api.ActionAbort:   {api.CodeReverted, api.StateReverted},
	} {
		t.Run(string(action), func(t *testing.T) {
			p := newProcesses(t)
			p.lead().deploy(requestFor("app", testkit.StartApp(t, "a")))
			req := requestFor("app", testkit.StartApp(t, "b"))
			req.Watch = new(api.Duration(time.Hour))
			d := p.lead().start(req)
			await(t, d, api.EventRollout, 1)
			_, next := p.upgrade()
			if err := next.changeRolloutOf(api.RolloutRequest{Action: action}); err != nil {
				t.Fatal(err)
			}
			if status, err := wait(t, d); api.ErrorCode(err) != want.code || status.State != want.state {
				t.Errorf("%v, %s", err, status.State)
			}
		})
	}
}
