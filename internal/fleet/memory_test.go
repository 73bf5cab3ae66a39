package fleet

import (
	"context"
	"errors"
	"sync"
)

// memory is a [Backend] in memory, of which each proxy has a link that a test can cut.
type memory struct {
	mu       sync.Mutex
	revision uint64
	leases   map[string]Lease
	plans    map[string]Plan
	decided  map[string]Decision
	acks     map[string]map[string]Ack
	down     bool
}

func newMemory() *memory {
	return &memory{leases: map[string]Lease{}, plans: map[string]Plan{}, decided: map[string]Decision{}, acks: map[string]map[string]Ack{}}
}

func (m *memory) setDown(down bool) { m.mu.Lock(); m.down = down; m.mu.Unlock() }

func (m *memory) snapshot() (s State) {
	for _, p := range m.plans {
		s.Plans = append(s.Plans, p)
	}
	for _, d := range m.decided {
		s.Decisions = append(s.Decisions, d)
	}
	return s
}

// link is how one proxy reaches a memory.
type link struct {
	*memory
	cutMu sync.Mutex
	cut   bool
	// loseDecide has the answer of the next decision be lost, after it has been made.
	loseDecide bool
	// before is called before a decision.
	before func()
}

var errCut = errors.New("connection refused")

func (l *link) setCut(cut bool) { l.cutMu.Lock(); l.cut = cut; l.cutMu.Unlock() }

func (l *link) do(f func() error) error {
	l.cutMu.Lock()
	cut := l.cut
	l.cutMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if cut || l.down {
		return errCut
	}
	return f()
}

func (l *link) Beat(_ context.Context, lease Lease) (before Lease, err error) {
	err = l.do(func() error { before = l.leases[lease.Name]; l.leases[lease.Name] = lease; return nil })
	return before, err
}

func (l *link) Leave(_ context.Context, name string) error {
	return l.do(func() error { delete(l.leases, name); return nil })
}

func (l *link) Leases(context.Context) (all []Lease, err error) {
	err = l.do(func() error {
		for _, lease := range l.leases {
			all = append(all, lease)
		}
		return nil
	})
	return all, err
}

func (l *link) Propose(_ context.Context, p Plan) (revision uint64, err error) {
	err = l.do(func() error {
		if l.decided[p.Service].Revision != p.Base {
			return ErrSuperseded
		}
		delete(l.acks, l.plans[p.Service].ID)
		l.revision++
		p.Revision, revision = l.revision, l.revision
		l.plans[p.Service] = p
		return nil
	})
	return revision, err
}

func (l *link) Withdraw(_ context.Context, p Plan) error {
	return l.do(func() error {
		if l.plans[p.Service].ID == p.ID {
			delete(l.plans, p.Service)
		}
		delete(l.acks, p.ID)
		return nil
	})
}

func (l *link) Ack(_ context.Context, a Ack) error {
	return l.do(func() error {
		if l.acks[a.Plan] == nil {
			l.acks[a.Plan] = map[string]Ack{}
		}
		l.acks[a.Plan][a.Step.Proxy] = a
		return nil
	})
}

func (l *link) Acks(_ context.Context, plan string) (all []Ack, err error) {
	err = l.do(func() error {
		for _, a := range l.acks[plan] {
			all = append(all, a)
		}
		return nil
	})
	return all, err
}

func (l *link) Decide(_ context.Context, p Plan) (revision uint64, err error) {
	if l.before != nil {
		l.before()
	}
	err = l.do(func() error {
		if d := l.decided[p.Service]; d.Plan == p.ID {
			revision = d.Revision
			return nil
		}
		if err := l.snapshot().Check(p); err != nil {
			return err
		}
		l.revision++
		revision = l.revision
		l.decided[p.Service] = Decision{Service: p.Service, Revision: revision, Plan: p.ID, Document: p.Document, Routes: p.Routes}
		if l.loseDecide {
			l.loseDecide = false
			return errCut
		}
		return nil
	})
	return revision, err
}

func (l *link) Look(context.Context) (s State, err error) {
	err = l.do(func() error { s = l.snapshot(); return nil })
	return s, err
}

func (l *link) Changed() <-chan struct{} { return nil }
