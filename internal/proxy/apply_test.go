package proxy

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// followedStore has another engine apply what is stored, when it is stored: before the one
// that stores it goes by it.
type followedStore struct {
	*memoryStore
	t *testing.T
	// mu has the documents reach the follower in the order in which they are stored.
	mu       sync.Mutex
	follower *testEngine
}

func (s *followedStore) Save(ctx context.Context, service string, document []byte, usable func([]byte) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.memoryStore.Save(ctx, service, document, usable)
	if err == nil {
		s.apply(service, document)
	}
	return err
}

func (s *followedStore) Delete(ctx context.Context, service string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.memoryStore.Delete(ctx, service)
	if err == nil {
		s.apply(service, nil)
	}
	return err
}

func (s *followedStore) apply(service string, document []byte) {
	if err := s.follower.Apply(service, document); err != nil && api.ErrorCode(err) != api.CodeStopping { // at the end of the test
		s.t.Errorf("the follower: %v\n%s", err, document)
	}
}

// newFollowed returns two engines, of which the second applies what the first one stores.
func newFollowed(t *testing.T) (leader, follower *testEngine) {
	t.Helper()
	store := &followedStore{memoryStore: newMemoryStore(), t: t}
	leader = newTestEngine(t, withStore(store))
	leader.store = store.memoryStore
	follower = newTestEngine(t)
	follower.store = store.memoryStore // what it is compared with
	store.follower = follower
	leader.Start()
	follower.Start()
	return leader, follower
}

// situation is what two proxies must agree on that have the same documents.
func (e *testEngine) situation() map[string]string {
	all := make(map[string]string)
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, svc := range e.services {
		l := svc.lineup()
		if l == nil {
			continue
		}
		var b strings.Builder
		for _, r := range l.releases() {
			b.WriteString(strings.Join(append(r.Targets(), r.Spec.Hosts...), ","))
			b.WriteString(" v" + string(rune('0'+r.Version%10)) + ";")
		}
		if l.candidate != nil {
			b.WriteString(" canary " + l.candidate.weight.String())
		}
		if l.standby != nil {
			b.WriteString(" standby")
		}
		if l.hold != nil {
			b.WriteString(" " + string(l.hold.Mode))
		}
		if l.rollout != nil {
			b.WriteString(" " + string(l.rollout.position().Phase))
		}
		all[name] = b.String()
	}
	return all
}

// TestFollowerIsWhatTheLeaderHasStored does operations in any order on one engine, and another
// one, which applies the documents, loses no request and ends up as the first one.
func TestFollowerIsWhatTheLeaderHasStored(t *testing.T) {
	t.Parallel()
	rnd := testkit.NewRand(t)
	apps := []*testkit.App{testkit.StartApp(t, "a"), testkit.StartApp(t, "b"), testkit.StartApp(t, "c")}
	for range 6 {
		leader, follower := newFollowed(t)
		leader.deploy(requestFor("app", apps[0]))
		stopLeader, stopFollower := leader.hammer(1, "h", "/"), follower.hammer(2, "h", "/")
		for range 15 {
			if err := leader.anyOperation(requestFor("app", apps[rnd.IntN(len(apps))]), rnd.IntN); err != nil {
				t.Fatal(err)
			}
		}
		_ = leader.changeRolloutOf(api.RolloutRequest{Action: api.ActionPromote, Full: true})
		stopLeader()
		stopFollower()
		leader.settleDrains()
		follower.settleDrains()
		leader.checkConsistent()
		follower.checkConsistent()
		if a, b := leader.situation(), follower.situation(); !maps.Equal(a, b) {
			t.Errorf("the leader has %q, the follower %q", a, b)
		}
	}
}

// TestFollowerFollowsRoutes that move between services, and services that go.
func TestFollowerFollowsRoutes(t *testing.T) {
	t.Parallel()
	leader, follower := newFollowed(t)
	one, two := requestFor("one", testkit.StartApp(t, "one")), requestFor("two", testkit.StartApp(t, "two"))
	one.Hosts, two.Hosts = []string{"a.test", "b.test"}, []string{"c.test"}
	leader.deploy(one)
	leader.deploy(two)
	same := func(what string) {
		t.Helper()
		leader.settleDrains()
		follower.settleDrains()
		if a, b := leader.situation(), follower.situation(); !maps.Equal(a, b) {
			t.Errorf("%s: the leader has %q, the follower %q", what, a, b)
		}
	}
	same("two services")
	stop := follower.hammer(2, "b.test", "/")
	two.Hosts, two.TakeOver = []string{"c.test", "b.test"}, true
	leader.deploy(two)
	same("a host taken over")
	follower.wantAnswer("a.test", "/", "one")
	follower.wantAnswer("b.test", "/", "two")
	two.Hosts = []string{"a.test", "b.test"}
	leader.deploy(two)
	same("the last host taken over")
	stop()
	follower.checkConsistent()
	if status, _ := follower.get("c.test", "/"); status != http.StatusNotFound {
		t.Errorf("a host that nobody has any more: %d", status)
	}
	testkit.Receive(t, leader.remove("two", api.RemoveRequest{}), "the removal")
	same("everything removed")
	if got := follower.Services(); len(got) != 0 {
		t.Errorf("the follower still has %+v", got)
	}
}

// TestFollowerKeepsConnectionsToReleasesThatStay through changes of weights and holds.
func TestFollowerKeepsConnectionsToReleasesThatStay(t *testing.T) {
	t.Parallel()
	leader, follower := newFollowed(t)
	var opened atomic.Int64
	app := testkit.NewApp("a")
	app.Server.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	app.Start(t, testkit.Listen(t, "tcp", "127.0.0.1:0"))
	req := requestFor("app", app)
	req.HealthCheckInterval = new(api.Duration(time.Hour))
	leader.deploy(req)
	follower.wantAnswer("h", "/", "a")
	leader.try(testkit.StartApp(t, "b"), func(r *api.DeployRequest) { r.Canary = "0%" })
	before := opened.Load()
	for range 5 {
		if err := leader.changeRolloutOf(api.RolloutRequest{Action: api.ActionSet, Weight: new(api.Percent(0))}); err != nil {
			t.Fatal(err)
		}
		leader.pause(api.HoldRequest{})
		leader.resume()
		follower.wantAnswer("h", "/", "a")
	}
	if n := opened.Load() - before; n > 0 {
		t.Errorf("%d new connections to the release that stays", n)
	}
}

// TestDrainOldWaitsForWhatThisProcessHolds of a release, and tells how it has drained, also
// afterwards.
func TestDrainOldWaitsForWhatThisProcessHolds(t *testing.T) {
	t.Parallel()
	leader, follower := newFollowed(t)
	begun, goOn := make(chan struct{}), make(chan struct{})
	leader.deploy(requestFor("app", testkit.StartHandler(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(begun)
			<-goOn
		}
	})))
	if _, err := follower.DrainOld(t.Context(), "app", 1, nil); api.ErrorCode(err) != api.CodeInvalid {
		t.Errorf("a release that serves: %v", err)
	}
	answered := make(chan int, 1)
	go func() {
		status, _ := follower.get("h", "/slow")
		answered <- status
	}()
	testkit.Receive(t, begun, "the request")
	if status := leader.deploy(requestFor("app", testkit.StartApp(t, "b"))); status.Drained[0].Requests != 0 {
		t.Errorf("the leader holds nothing: %+v", status.Drained)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := follower.DrainOld(over, "app", 1, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("with a request in flight: %v", err)
	}
	close(goOn)
	for _, what := range []string{"as it drains", "afterwards"} {
		if d, err := follower.DrainOld(t.Context(), "app", 1, nil); err != nil || !d.Clean() || d.Release != 1 || len(d.Targets) != 1 {
			t.Errorf("%s: %+v, %v", what, d, err)
		}
	}
	if status := testkit.Receive(t, answered, "the answer"); status != http.StatusOK {
		t.Errorf("the request that was in flight: %d", status)
	}
	for _, name := range []string{"app", "other"} {
		if d, err := follower.DrainOld(t.Context(), name, 9, nil); err != nil || d.Requests != 0 {
			t.Errorf("a release that is not known here: %+v, %v", d, err)
		}
	}
}

// TestApplyEndsDeploymentsOfTheService that have not begun to commit: what was applied is
// newer.
func TestApplyEndsDeploymentsOfTheService(t *testing.T) {
	t.Parallel()
	leader, follower := newFollowed(t)
	req := requestFor("app")
	req.Targets = []string{testkit.RefusedAddress}
	d := follower.start(req)
	leader.deploy(requestFor("app", testkit.StartApp(t, "a")))
	if status, err := wait(t, d); api.ErrorCode(err) != api.CodeSuperseded || status.State != api.StateSuperseded {
		t.Errorf("%v, %s", err, status.State)
	}
	follower.wantAnswer("h", "/", "a")
	follower.settleDrains()
	follower.checkConsistent()
}

// TestApplyOfNonsenseChangesNothing and says what is wrong.
func TestApplyOfNonsenseChangesNothing(t *testing.T) {
	t.Parallel()
	leader, follower := newFollowed(t)
	leader.deploy(requestFor("app", testkit.StartApp(t, "a")))
	document := leader.store.dump()["app"][0]
	newer := []byte(strings.Replace(string(document), `"format": 1`, `"format": 99`, 1))
	before := follower.situation()
	for what, apply := range map[string]func() error{
		"no JSON":         func() error { return follower.Apply("app", []byte("{")) },
		"another service": func() error { return follower.Apply("other", document) },
		"a bad name":      func() error { return follower.Apply("../app", document) },
		"a newer format":  func() error { return follower.Apply("app", newer) },
	} {
		if err := apply(); err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
	if err := follower.Apply("app", newer); !errors.Is(err, ErrNewerFormat) {
		t.Error(err)
	}
	if after := follower.situation(); !maps.Equal(before, after) {
		t.Errorf("it has changed from %q to %q", before, after)
	}
	follower.checkConsistent()
	follower.Close()
	if err := follower.Apply("app", document); api.ErrorCode(err) != api.CodeStopping {
		t.Errorf("after the end: %v", err)
	}
}
