package fleet

import (
	"context"
	"sync"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

// busyProxy is a proxy that applies decisions.
type busyProxy struct {
	Proxy
	// onGiveUp is called once it has applied one.
	onGiveUp func()

	mu      sync.Mutex
	at      uint64
	applied int
}

func (p *busyProxy) Revision(string) uint64 { p.mu.Lock(); defer p.mu.Unlock(); return p.at }

func (p *busyProxy) ApplyDecision(_ string, _ []byte, revision uint64) (proxy.Leaving, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = revision
	p.applied++
	return proxy.Leaving{}, nil
}

func (p *busyProxy) GiveUp(string, string) { p.onGiveUp() }

func (p *busyProxy) AwaitDrains(context.Context, proxy.Leaving) (api.Drain, error) {
	return api.Drain{}, nil
}

// ackStore keeps what is acknowledged.
type ackStore struct {
	Store
	mu   sync.Mutex
	acks []api.FleetPhase
}

func (s *ackStore) Ack(_ context.Context, a Ack) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acks = append(s.acks, a.Step.Phase)
	return nil
}

// A decision that is looked at again, before it was acknowledged, is not applied again.
func TestDecisionIsAppliedOnce(t *testing.T) {
	store, p := &ackStore{}, &busyProxy{}
	a := New(Options{Name: "a", Store: store}, p)
	state := State{
		Plans:     []Plan{{ID: "plan", Service: "web", Coordinator: "b"}},
		Decisions: []Decision{{Service: "web", Plan: "plan", Revision: 1}},
	}
	look := func() { _ = a.follow(state) } // its error says that the proxy is behind
	looked := make(chan struct{})
	p.onGiveUp = sync.OnceFunc(func() { look(); close(looked) })
	look()
	<-looked
	a.term.work.end(t.Context())
	if p.applied != 1 || len(store.acks) != 2 || store.acks[0] != api.FleetApplied || store.acks[1] != api.FleetDrained {
		t.Errorf("it was applied %d times, and acknowledged as %v", p.applied, store.acks)
	}
}

// leavingStore counts the goodbyes.
type leavingStore struct {
	Store
	goodbyes int
}

func (s *leavingStore) Leave(context.Context, string) error { s.goodbyes++; return nil }

// A process that has not taken part, such as one that checks a config, does not say goodbye for the one that does.
func TestGoodbyeIsOfWhoHasTakenPart(t *testing.T) {
	store := &leavingStore{}
	if err := New(Options{Name: "a", Store: store}, &busyProxy{}).Leave(t.Context()); err != nil || store.goodbyes > 0 {
		t.Errorf("%d goodbyes; %v", store.goodbyes, err)
	}
}
