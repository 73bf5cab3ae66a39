package fleettest

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/parachute-proxy/parachute/internal/fleet"
)

// Memory is a [fleet.Store] in memory. Make one by [NewMemory].
type Memory struct {
	// mu guards what follows.
	mu       sync.Mutex
	revision uint64
	leases   map[string]fleet.Lease
	plans    map[string]fleet.Plan
	decided  map[string]fleet.Decision
	acks     map[string]map[string]fleet.Ack
}

var _ fleet.Store = (*Memory)(nil)

// NewMemory returns a store that has nothing.
func NewMemory() *Memory {
	return &Memory{leases: map[string]fleet.Lease{}, plans: map[string]fleet.Plan{}, decided: map[string]fleet.Decision{}, acks: map[string]map[string]fleet.Ack{}}
}

// Lose has the store forget everything.
func (m *Memory) Lose() {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := NewMemory()
	m.revision, m.leases, m.plans, m.decided, m.acks = 0, n.leases, n.plans, n.decided, n.acks
}

func (m *Memory) snapshot() fleet.State {
	return fleet.State{Revision: m.revision, Plans: slices.Collect(maps.Values(m.plans)), Decisions: slices.Collect(maps.Values(m.decided))}
}

// Beat implements [fleet.Store].
func (m *Memory) Beat(_ context.Context, l fleet.Lease) (fleet.Lease, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.leases[l.Name]
	m.leases[l.Name] = l
	return before, nil
}

// Leave implements [fleet.Store].
func (m *Memory) Leave(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.leases, name)
	return nil
}

// Leases implements [fleet.Store].
func (m *Memory) Leases(context.Context) ([]fleet.Lease, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.leases)), nil
}

// Propose implements [fleet.Store].
func (m *Memory) Propose(_ context.Context, p fleet.Plan) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	newest := m.plans[p.Service]
	if newest.ID == p.ID {
		return newest.Revision, nil
	}
	if m.decided[p.Service].Revision != p.Base {
		return 0, fleet.ErrSuperseded
	}
	if m.decided[p.Service].Plan != newest.ID {
		delete(m.acks, newest.ID)
	}
	m.revision++
	p.Revision = m.revision
	m.plans[p.Service] = p
	return p.Revision, nil
}

// Withdraw implements [fleet.Store].
func (m *Memory) Withdraw(_ context.Context, p fleet.Plan) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.plans[p.Service].ID == p.ID {
		delete(m.plans, p.Service)
	}
	delete(m.acks, p.ID)
	return nil
}

// Abandon implements [fleet.Store].
func (m *Memory) Abandon(_ context.Context, p fleet.Plan) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.plans[p.Service].ID == p.ID && m.decided[p.Service].Plan != p.ID {
		delete(m.plans, p.Service)
		delete(m.acks, p.ID)
	}
	return nil
}

// Ack implements [fleet.Store].
func (m *Memory) Ack(_ context.Context, a fleet.Ack) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.acks[a.Plan] == nil {
		m.acks[a.Plan] = map[string]fleet.Ack{}
	}
	m.acks[a.Plan][a.Step.Proxy] = a
	return nil
}

// Acks implements [fleet.Store].
func (m *Memory) Acks(_ context.Context, plan string) ([]fleet.Ack, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.acks[plan])), nil
}

// Decide implements [fleet.Store].
func (m *Memory) Decide(_ context.Context, p fleet.Plan) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.decided[p.Service]; d.Plan == p.ID {
		return d.Revision, nil
	}
	if err := m.snapshot().Check(p); err != nil {
		return 0, err
	}
	m.revision++
	m.decided[p.Service] = fleet.Decision{Service: p.Service, Revision: m.revision, Plan: p.ID, Document: p.Document, Routes: p.Routes}
	return m.revision, nil
}

// Look implements [fleet.Store].
func (m *Memory) Look(context.Context) (fleet.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.snapshot(), nil
}

// Advance implements [fleet.Store].
func (m *Memory) Advance(_ context.Context, revision uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revision = max(m.revision, revision)
	return nil
}

// Changed implements [fleet.Store].
func (m *Memory) Changed() <-chan struct{} { return nil }

// Acked implements [fleet.Store].
func (m *Memory) Acked() <-chan struct{} { return nil }
