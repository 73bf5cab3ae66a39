package fleettest

import (
	"context"
	"errors"
	"sync"

	"github.com/parachute-proxy/parachute/internal/fleet"
)

// ErrCut is what a link that is cut says.
var ErrCut = errors.New("connection refused")

// Link is how one proxy reaches a store in a test that has it fail.
type Link struct {
	fleet.Store

	// mu guards what follows.
	mu  sync.Mutex
	cut bool
	// losesDecision has the answer of the next decision be lost, cutsDecision the link be cut before it.
	losesDecision, cutsDecision bool
}

// SetCut cuts the link, or mends it.
func (l *Link) SetCut(cut bool) { l.mu.Lock(); l.cut = cut; l.mu.Unlock() }

// LoseDecision has the answer of the next decision be lost, after it has been made.
func (l *Link) LoseDecision() { l.mu.Lock(); l.losesDecision = true; l.mu.Unlock() }

// CutBeforeDecision cuts the link when the next decision is asked for.
func (l *Link) CutBeforeDecision() { l.mu.Lock(); l.cutsDecision = true; l.mu.Unlock() }

func (l *Link) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return ErrCut
	}
	return nil
}

// Beat implements [fleet.Store].
func (l *Link) Beat(ctx context.Context, lease fleet.Lease) (fleet.Lease, error) {
	if err := l.err(); err != nil {
		return fleet.Lease{}, err
	}
	return l.Store.Beat(ctx, lease)
}

// Leave implements [fleet.Store].
func (l *Link) Leave(ctx context.Context, name string) error {
	if err := l.err(); err != nil {
		return err
	}
	return l.Store.Leave(ctx, name)
}

// Leases implements [fleet.Store].
func (l *Link) Leases(ctx context.Context) ([]fleet.Lease, error) {
	if err := l.err(); err != nil {
		return nil, err
	}
	return l.Store.Leases(ctx)
}

// Propose implements [fleet.Store].
func (l *Link) Propose(ctx context.Context, p fleet.Plan) (uint64, error) {
	if err := l.err(); err != nil {
		return 0, err
	}
	return l.Store.Propose(ctx, p)
}

// Withdraw implements [fleet.Store].
func (l *Link) Withdraw(ctx context.Context, p fleet.Plan) error {
	if err := l.err(); err != nil {
		return err
	}
	return l.Store.Withdraw(ctx, p)
}

// Ack implements [fleet.Store].
func (l *Link) Ack(ctx context.Context, a fleet.Ack) error {
	if err := l.err(); err != nil {
		return err
	}
	return l.Store.Ack(ctx, a)
}

// Acks implements [fleet.Store].
func (l *Link) Acks(ctx context.Context, plan string) ([]fleet.Ack, error) {
	if err := l.err(); err != nil {
		return nil, err
	}
	return l.Store.Acks(ctx, plan)
}

// Decide implements [fleet.Store].
func (l *Link) Decide(ctx context.Context, p fleet.Plan) (uint64, error) {
	l.mu.Lock()
	l.cut = l.cut || l.cutsDecision
	loses := l.losesDecision
	l.losesDecision = false
	l.mu.Unlock()
	if err := l.err(); err != nil {
		return 0, err
	}
	revision, err := l.Store.Decide(ctx, p)
	if loses && err == nil {
		return 0, ErrCut
	}
	return revision, err
}

// Look implements [fleet.Store].
func (l *Link) Look(ctx context.Context) (fleet.State, error) {
	if err := l.err(); err != nil {
		return fleet.State{}, err
	}
	return l.Store.Look(ctx)
}
