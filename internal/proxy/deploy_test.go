package proxy

import (
	"context"
	"errors"
	"fmt"
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

// hammer sends requests from several clients until the test calls the function it
// returns, which fails the test unless every answer was 200.
func (e *testEngine) hammer(clients int, host, path string) (stop func()) {
	var all sync.WaitGroup
	var sent atomic.Int64
	over := make(chan struct{})
	for range clients {
		all.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				sent.Add(1)
				if status, body := e.get(host, path); status != http.StatusOK {
					e.t.Errorf("request %d: %d %q, want 200", sent.Load(), status, body)
					return
				}
			}
		})
	}
	return func() {
		e.t.Helper()
		close(over)
		all.Wait()
		e.t.Logf("%d requests", sent.Load())
	}
}

func TestFirstDeployServes(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	if status, _ := e.get("h", "/"); status != http.StatusNotFound {
		t.Errorf("before the first deploy: %d, want 404", status)
	}
	status := e.deploy(requestFor("app", testkit.StartApp(t, "one")))
	if status.State != api.StateDone || status.Release != 1 || status.Previous != 0 || status.Serving != 1 ||
		len(status.Drained) != 0 || len(status.Probes) != 1 || status.Probes[0].Probes != 1 || status.Ended == nil {
		t.Errorf("status %+v", status)
	}
	e.wantAnswer("h", "/", "one")
}

// TestDeploysUnderLoadLoseNothing switches back and forth, with the same routes
// and with others, which are two kinds of switch.
func TestDeploysUnderLoadLoseNothing(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	apps := []*testkit.App{testkit.StartApp(t, "one"), testkit.StartApp(t, "two")}
	e.deploy(requestFor("app", apps[0]))
	stop := e.hammer(6, "h.example.com", "/")
	for i := range 60 {
		req := requestFor("app", apps[i%2])
		if i%3 == 0 {
			req.Hosts = []string{"h.example.com", fmt.Sprintf("h%d.example.com", i)}
		}
		if status := e.deploy(req); status.Release != i+2 {
			t.Fatalf("deploy %d is v%d", i, status.Release)
		}
	}
	stop()
}

// TestSameAddressIsRedeployedUnderLoad makes sure that the old release's drain is
// not the new one's, which has the same address.
func TestSameAddressIsRedeployedUnderLoad(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a := testkit.StartApp(t, "app")
	e.deploy(requestFor("app", a))
	stop := e.hammer(4, "h", "/")
	for range 20 {
		e.deploy(requestFor("app", a))
	}
	stop()
}

func TestNewerDeployWins(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.deploy(requestFor("app", testkit.StartApp(t, "current")))
	slow, fast := testkit.StartApp(t, "slow"), testkit.StartApp(t, "fast")
	slow.Health.Store(http.StatusServiceUnavailable)
	older := e.start(requestFor("app", slow))
	await(t, older, api.EventProbeFailed, 1)
	e.deploy(requestFor("app", fast))

	status, err := wait(t, older)
	wantCode(t, err, api.CodeSuperseded)
	if status.State != api.StateSuperseded || status.Release != 0 || status.Serving == 0 {
		t.Errorf("the older deployment: %+v, want superseded", status)
	}
	slow.Health.Store(http.StatusOK) // too late
	e.wantAnswer("h", "/", "fast")
	if s, _ := e.Service("app"); s.Active.Release != 2 {
		t.Errorf("v%d serves, want v2", s.Active.Release)
	}
}

// TestFailedDeployKeepsServing lets a deployment fail at every step before the
// switch: nothing that anybody can see may have changed.
func TestFailedDeployKeepsServing(t *testing.T) {
	t.Parallel()
	sick := func(t *testing.T) *testkit.App {
		a := testkit.StartApp(t, "sick")
		a.Health.Store(http.StatusInternalServerError)
		return a
	}
	other := func(r api.DeployRequest) api.DeployRequest {
		r.Hosts, r.PathPrefixes, r.TargetTimeout = []string{"other.example.com", "h"}, []string{"/api"}, testkit.Milliseconds(1)
		return r
	}
	for name, tt := range map[string]struct {
		fail  func(t *testing.T, e *testEngine, store *faultyStore) error
		code  api.Code
		state api.State // empty if it is not even accepted
	}{
		"invalid": {func(t *testing.T, e *testEngine, _ *faultyStore) error {
			req := other(requestFor("app", sick(t)))
			req.HealthCheckInterval = testkit.Milliseconds(0)
			_, err := e.Deploy(req.Patch())
			return err
		}, api.CodeInvalid, ""},
		"route conflict": {func(t *testing.T, e *testEngine, _ *faultyStore) error {
			req := other(requestFor("app", sick(t)))
			req.Hosts = append(req.Hosts, "neighbour.example.com")
			req.PathPrefixes = nil
			_, err := e.Deploy(req.Patch())
			return err
		}, api.CodeRouteConflict, ""},
		"not healthy": {func(t *testing.T, e *testEngine, _ *faultyStore) error {
			req := other(requestFor("app", sick(t)))
			req.DeployTimeout = testkit.Milliseconds(50)
			_, err := wait(t, e.start(req))
			return err
		}, api.CodeNotHealthy, api.StateFailed},
		"one of two not healthy": {func(t *testing.T, e *testEngine, _ *faultyStore) error {
			req := other(requestFor("app", sick(t), testkit.StartApp(t, "well")))
			req.DeployTimeout = testkit.Milliseconds(200)
			_, err := wait(t, e.start(req))
			return err
		}, api.CodeNotHealthy, api.StateFailed},
		"cancelled": {func(t *testing.T, e *testEngine, _ *faultyStore) error {
			d := e.start(other(requestFor("app", sick(t))))
			await(t, d, api.EventProbeFailed, 1)
			d.Cancel()
			_, err := wait(t, d)
			return err
		}, api.CodeCancelled, api.StateCancelled},
		"superseded": {func(t *testing.T, e *testEngine, _ *faultyStore) error {
			d := e.start(other(requestFor("app", sick(t))))
			newer := e.start(requestFor("app", sick(t)))
			_, err := wait(t, d)
			newer.Cancel()
			_, _ = wait(t, newer)
			return err
		}, api.CodeSuperseded, api.StateSuperseded},
		"disk full": {func(t *testing.T, e *testEngine, store *faultyStore) error {
			store.onSave = func(string) error { return errDiskFull }
			_, err := wait(t, e.start(other(requestFor("app", testkit.StartApp(t, "new")))))
			if !errors.Is(err, errDiskFull) || !strings.Contains(err.Error(), "no space left") {
				t.Errorf("error %v does not say why", err)
			}
			return err
		}, api.CodeStorage, api.StateFailed},
		"first deploy of a service fails": {func(t *testing.T, e *testEngine, _ *faultyStore) error {
			req := requestFor("newcomer", sick(t))
			req.Hosts, req.DeployTimeout = []string{"newcomer.example.com"}, testkit.Milliseconds(50)
			_, err := wait(t, e.start(req))
			return err
		}, api.CodeNotHealthy, api.StateFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &faultyStore{memoryStore: newMemoryStore()}
			e := newTestEngine(t, withStore(store))
			e.store = store.memoryStore
			req := requestFor("app", testkit.StartApp(t, "current"))
			req.HealthCheckInterval = testkit.Milliseconds(60_000) // no probe may change the picture
			e.deploy(req)
			req = requestFor("neighbour", testkit.StartApp(t, "neighbour"))
			req.Hosts, req.HealthCheckInterval = []string{"neighbour.example.com"}, testkit.Milliseconds(60_000)
			e.deploy(req)
			before := e.picture()

			err := tt.fail(t, e, store)
			wantCode(t, err, tt.code)
			if strings.Contains(name, "first") {
				if s, err := e.Service("newcomer"); err == nil {
					t.Errorf("the service that never came to be: %+v", s)
				}
			}
			if after := e.picture(); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
			e.wantAnswer("h", "/", "current")
			e.wantAnswer("other.example.com", "/api", "current")
			e.wantAnswer("neighbour.example.com", "/", "neighbour")
			e.operations.Wait() // the count comes last
			if tt.state != "" && e.DeploymentCounts()[tt.state] == 0 {
				t.Errorf("deployments %v, want one that is %s", e.DeploymentCounts(), tt.state)
			}
			// And the next one succeeds.
			store.onSave = nil
			if status := e.deploy(requestFor("app", testkit.StartApp(t, "next"))); status.Release != 2 {
				t.Errorf("the next release is v%d, want v2", status.Release)
			}
			e.wantAnswer("h", "/", "next")
		})
	}
}

// TestReleaseIsStoredBeforeItServes looks at the moment of the save.
func TestReleaseIsStoredBeforeItServes(t *testing.T) {
	t.Parallel()
	store := &faultyStore{memoryStore: newMemoryStore()}
	e := newTestEngine(t, withStore(store))
	e.store = store.memoryStore
	e.deploy(requestFor("app", testkit.StartApp(t, "old")))
	var during atomic.Value
	store.onSave = func(string) error {
		_, body := e.get("h", "/")
		during.Store(body)
		return nil
	}
	e.deploy(requestFor("app", testkit.StartApp(t, "new")))
	if during.Load() != "old" {
		t.Errorf("%q serves while the release is being stored, want old", during.Load())
	}
	if doc, err := decodeDocument("app", e.store.dump()["app"][0]); err != nil || doc.Release != 2 {
		t.Errorf("stored: %+v, %v, want v2", doc, err)
	}
}

// TestCommitIsNotInterrupted blocks a deployment in its save: it can no longer be
// cancelled or superseded, a newer one of the service queues behind it, and other
// services do not wait.
func TestCommitIsNotInterrupted(t *testing.T) {
	t.Parallel()
	saving, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	store := &faultyStore{memoryStore: newMemoryStore()}
	e := newTestEngine(t, withStore(store))
	store.onSave = func(service string) error {
		if service == "app" {
			once.Do(func() {
				close(saving)
				<-goOn
			})
		}
		return nil
	}
	first := e.start(requestFor("app", testkit.StartApp(t, "first")))
	testkit.Receive(t, saving, "the save")
	first.Cancel()
	second := e.start(requestFor("app", testkit.StartApp(t, "second")))
	await(t, second, api.EventHealthy, 1)
	other := requestFor("other", testkit.StartApp(t, "other"))
	other.Hosts = []string{"other.example.com"}
	e.deploy(other)
	removed := make(chan error, 1)
	otherRemoval := func() { _, err := e.Remove("other", api.RemoveRequest{}); removed <- err }
	go otherRemoval()
	if err := testkit.Receive(t, removed, "the removal of the other service"); err != nil {
		t.Error(err)
	}
	close(goOn)
	if status, err := wait(t, first); err != nil || status.Release != 1 {
		t.Errorf("the first deployment: %+v, %v, want v1", status, err)
	}
	if status, err := wait(t, second); err != nil || status.Release != 2 || status.Previous != 1 {
		t.Errorf("the second deployment: %+v, %v, want v2 after v1", status, err)
	}
	e.wantAnswer("h", "/", "second")
}

func TestForceSkipsTheHealthCheck(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	sick := testkit.StartApp(t, "sick")
	sick.Health.Store(http.StatusServiceUnavailable)
	req := requestFor("app", sick)
	req.Force = true
	if status := e.deploy(req); len(status.Probes) != 0 {
		t.Errorf("probes %+v, want none", status.Probes)
	}
	e.wantAnswer("h", "/", "sick")
}

// TestDeploymentOutlivesItsWaiter is what --detach builds upon: a caller that
// goes away ends a deployment by Cancel, and by nothing else.
func TestDeploymentOutlivesItsWaiter(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a := testkit.StartApp(t, "app")
	a.Health.Store(http.StatusServiceUnavailable)
	req := requestFor("app", a)
	req.Detach = true
	d := e.start(req)
	if !d.Detached() {
		t.Error("the deployment is not detached")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if status, err := d.Wait(ctx); !errors.Is(err, context.Canceled) || status.State.Final() {
		t.Errorf("state %s, %v", status.State, err)
	}
	a.Health.Store(http.StatusOK)
	if _, err := wait(t, d); err != nil {
		t.Error(err)
	}
	found, err := e.Deployment(d.ID())
	if err != nil || found != d {
		t.Errorf("asked for later: %v, %v", found, err)
	}
}

// TestManyRoutesAreComparedQuickly keeps a switch of the largest service that is
// allowed from holding up the control plane.
func TestManyRoutesAreComparedQuickly(t *testing.T) {
	var routes []api.Route
	for i := range api.MaxHosts * api.MaxPrefixes {
		routes = append(routes, api.Route{Host: fmt.Sprint("h", i), Prefix: "/"})
	}
	reversed := slices.Clone(routes)
	slices.Reverse(reversed)
	start := time.Now()
	if !sameRoutes(routes, reversed) {
		t.Error("the order of routes matters")
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %s", took)
	}
	reversed[7].Prefix = "/x"
	if sameRoutes(routes, reversed) || sameRoutes(routes, routes[1:]) {
		t.Error("different routes are the same")
	}
}
