package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrLost means that a store does not have what it has had: a folder that is not mounted looks so.
var ErrLost = errors.New("what the fleet has decided is not there any more")

// restoreLeap is by how much a restored decision is later than what the proxy that restores it has. Other
// proxies may have later ones, and are to follow all the same.
const restoreLeap = 1 << 20

// lostError says that the store does not have what this proxy serves. It is no outage: nothing may be decided
// until an operator says what stands.
type lostError struct{ services []string }

func (e *lostError) Error() string {
	const most = 3
	names := strings.Join(e.services[:min(most, len(e.services))], ", ")
	if more := len(e.services) - most; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("the fleet's store does not have what this proxy serves: %s", names)
}

func lost(problem error) bool {
	_, is := errors.AsType[*lostError](problem)
	return is
}

// lacking returns the services that this proxy serves, and that a state does not have, or only as they were
// before. held is what [Proxy.FleetRevisions] was before the state was read: what is decided meanwhile is in
// the one and not in the other.
func lacking(held map[string]uint64, state State) (services []string) {
	decided := make(map[string]uint64, len(state.Decisions))
	for _, d := range state.Decisions {
		decided[d.Service] = d.Revision
	}
	for service, revision := range held {
		if at, ok := decided[service]; !ok || at < revision {
			services = append(services, service)
		}
	}
	slices.Sort(services)
	return services
}

// lookOver reads the state, and before that what this proxy serves. The error of a store that has nothing any
// more is nil, and its state is empty.
func (a *Agent) lookOver(ctx context.Context) (state State, held map[string]uint64, err error) {
	held = a.proxy.FleetRevisions()
	if state, err = a.look(ctx); errors.Is(err, ErrLost) {
		return State{}, held, nil
	}
	return state, held, err
}

// Restore gives the store what this proxy serves and it does not have, as after the loss of a disk. It returns the
// names of those services, which all proxies then serve as this one does. An [api.Error] is why it could not;
// what was restored before that stays.
func (a *Agent) Restore(ctx context.Context) (restored []string, err error) {
	if err := a.refusal(); err != nil {
		return nil, err
	}
	state, held, err := a.lookOver(ctx)
	if err != nil {
		return nil, unreachable(err)
	}
	lacks := slices.DeleteFunc(lacking(held, state), a.isImport) // which the others may not be able to serve
	if len(lacks) == 0 {
		return nil, nil
	}
	latest := uint64(0)
	for _, revision := range held {
		latest = max(latest, revision)
	}
	advance := func(ctx context.Context) error { return a.opts.Store.Advance(ctx, latest+restoreLeap) }
	if err := a.do(ctx, advance); err != nil {
		return nil, unreachable(err)
	}
	for _, service := range lacks {
		if err := a.restore(ctx, state, service); err != nil {
			return restored, err
		}
		restored = append(restored, service)
	}
	return restored, nil
}

// restore has a service be decided as this proxy serves it. The others are not asked whether they can.
func (a *Agent) restore(ctx context.Context, state State, service string) error {
	p, err := a.proxy.FleetProposal(service)
	if err != nil || p == nil {
		return err // nil: it was removed meanwhile
	}
	d, _ := state.Decision(service)
	b := &ballot{a: a, plan: Plan{
		ID: rand.Text(), Service: service, Coordinator: a.opts.Name, Base: d.Revision, Document: p.Document, Routes: p.Routes,
		Force: true, Timeout: a.opts.Patience,
	}}
	a.mu.Lock()
	a.coordinates[b.plan.ID] = true
	a.mu.Unlock()
	defer b.Close()
	plan := b.plan // the call may outlive its time, and b.plan gets a revision
	b.plan.Revision, err = a.call(ctx, func(ctx context.Context) (uint64, error) { return a.opts.Store.Propose(ctx, plan) })
	if err != nil {
		return b.explain(err)
	}
	revision, err := b.Decide()
	if err != nil {
		return err
	}
	_, err = a.proxy.ApplyDecision(service, p.Document, revision)
	return err
}
