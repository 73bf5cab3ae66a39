package fleettest

import (
	"context"
	"errors"
	"sync"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/fleet"
)

// ErrCut is what a link that is cut says.
var ErrCut = errors.New("connection refused")

// Call names a call of a store.
type Call string

// The calls of a store. Acknowledgements are told apart by their phase: see [Acknowledges].
const (
	CallBeat     Call = "beat"
	CallLeave    Call = "leave"
	CallLeases   Call = "leases"
	CallPropose  Call = "propose"
	CallWithdraw Call = "withdraw"
	CallAbandon  Call = "abandon"
	CallAcks     Call = "acks"
	CallDecide   Call = "decide"
	CallLook     Call = "look"
	CallAdvance  Call = "advance"
)

// Acknowledges names the call by which a proxy says that it has come to a phase.
func Acknowledges(phase api.FleetPhase) Call { return Call("ack " + phase) }

// moment is before or after a call.
type moment struct {
	call  Call
	after bool
}

// Link is how one proxy reaches a store in a test that has it fail.
type Link struct {
	fleet.Store

	// mu guards what follows.
	mu  sync.Mutex
	cut bool
	// faults are what happens at the next call of a kind.
	faults map[moment]func() error
}

// SetCut cuts the link, or mends it.
func (l *Link) SetCut(cut bool) { l.mu.Lock(); l.cut = cut; l.mu.Unlock() }

// Before has fault happen before the next call of a kind. If it returns an error, the proxy gets that, and the
// call is not made.
func (l *Link) Before(call Call, fault func() error) { l.at(moment{call, false}, fault) }

// After has fault happen once the next call of a kind has been made. If it returns an error, the proxy gets that
// for an answer.
func (l *Link) After(call Call, fault func() error) { l.at(moment{call, true}, fault) }

func (l *Link) at(m moment, fault func() error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.faults == nil {
		l.faults = make(map[moment]func() error)
	}
	l.faults[m] = fault
}

// Mend mends the link, and has no faults happen any more.
func (l *Link) Mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut, l.faults = false, nil
}

// happens has a fault happen, if there is one.
func (l *Link) happens(m moment) error {
	l.mu.Lock()
	fault := l.faults[m]
	delete(l.faults, m)
	l.mu.Unlock()
	if fault == nil {
		return nil
	}
	return fault()
}

// pass makes a call, unless a fault or a cut keeps it from the store.
func pass[T any](l *Link, call Call, make func() (T, error)) (none T, err error) {
	if err := l.happens(moment{call, false}); err != nil {
		return none, err
	}
	if l.isCut() {
		return none, ErrCut
	}
	result, err := make()
	if err != nil {
		return none, err
	}
	if err := l.happens(moment{call, true}); err != nil {
		return none, err
	}
	if l.isCut() {
		return none, ErrCut
	}
	return result, nil
}

func (l *Link) isCut() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut
}

// passError is pass for a call that returns nothing but an error.
func passError(l *Link, call Call, make func() error) error {
	_, err := pass(l, call, func() (struct{}, error) { return struct{}{}, make() })
	return err
}

// Beat implements [fleet.Store].
func (l *Link) Beat(ctx context.Context, lease fleet.Lease) (fleet.Lease, error) {
	return pass(l, CallBeat, func() (fleet.Lease, error) { return l.Store.Beat(ctx, lease) })
}

// Leave implements [fleet.Store].
func (l *Link) Leave(ctx context.Context, name string) error {
	return passError(l, CallLeave, func() error { return l.Store.Leave(ctx, name) })
}

// Leases implements [fleet.Store].
func (l *Link) Leases(ctx context.Context) ([]fleet.Lease, error) {
	return pass(l, CallLeases, func() ([]fleet.Lease, error) { return l.Store.Leases(ctx) })
}

// Propose implements [fleet.Store].
func (l *Link) Propose(ctx context.Context, p fleet.Plan) (uint64, error) {
	return pass(l, CallPropose, func() (uint64, error) { return l.Store.Propose(ctx, p) })
}

// Withdraw implements [fleet.Store].
func (l *Link) Withdraw(ctx context.Context, p fleet.Plan) error {
	return passError(l, CallWithdraw, func() error { return l.Store.Withdraw(ctx, p) })
}

// Abandon implements [fleet.Store].
func (l *Link) Abandon(ctx context.Context, p fleet.Plan) error {
	return passError(l, CallAbandon, func() error { return l.Store.Abandon(ctx, p) })
}

// Ack implements [fleet.Store].
func (l *Link) Ack(ctx context.Context, a fleet.Ack) error {
	return passError(l, Acknowledges(a.Step.Phase), func() error { return l.Store.Ack(ctx, a) })
}

// Acks implements [fleet.Store].
func (l *Link) Acks(ctx context.Context, plan string) ([]fleet.Ack, error) {
	return pass(l, CallAcks, func() ([]fleet.Ack, error) { return l.Store.Acks(ctx, plan) })
}

// Decide implements [fleet.Store].
func (l *Link) Decide(ctx context.Context, p fleet.Plan) (uint64, error) {
	return pass(l, CallDecide, func() (uint64, error) { return l.Store.Decide(ctx, p) })
}

// Look implements [fleet.Store].
func (l *Link) Look(ctx context.Context) (fleet.State, error) {
	return pass(l, CallLook, func() (fleet.State, error) { return l.Store.Look(ctx) })
}

// Advance implements [fleet.Store].
func (l *Link) Advance(ctx context.Context, revision uint64) error {
	return passError(l, CallAdvance, func() error { return l.Store.Advance(ctx, revision) })
}
