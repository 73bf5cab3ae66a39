package proxy

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
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
