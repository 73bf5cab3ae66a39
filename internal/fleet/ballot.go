package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

// ballot is a plan of this proxy's own.
type ballot struct {
	a    *Agent
	plan Plan
	step func(api.FleetStep)
	// asked are the other proxies that were live when the change was proposed: each has to get ready.
	asked []string
	// anyway says that nobody waits for proxies that are not heard of.
	anyway bool

	// mu guards what follows.
	mu sync.Mutex
	// told is what step was told last of each proxy.
	told map[string]api.FleetPhase
	// absent are those that were missing for so long that nobody waits for them.
	absent map[string]bool
	closed bool
	// revision is that of the decision; 0 before it. unknown says that nobody could tell whether there is one.
	revision uint64
	unknown  bool
}

// Propose implements [proxy.Fleet].
func (a *Agent) Propose(ctx context.Context, p proxy.Proposal, step func(api.FleetStep)) (proxy.Ballot, error) {
	if err := a.mayCoordinate(); err != nil {
		return nil, err
	}
	if err := a.readLeases(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, unchanged(unreachable(err))
	}
	live, missing := a.leases.others(a.opts.Name, time.Now())
	b := &ballot{
		a: a, step: step, asked: live, anyway: p.Anyway, told: make(map[string]api.FleetPhase), absent: make(map[string]bool),
		plan: Plan{
			// The process that goes on with a deployment after an upgrade proposes another plan.
			ID: p.Deployment + "-" + a.self.Incarnation[:6], Service: p.Service, Coordinator: a.opts.Name, Base: p.Base, Document: p.Document, Routes: p.Routes,
			Force: p.Force, Timeout: p.Timeout + a.opts.Patience,
		},
	}
	if err := checkGone(p.Without, live, missing); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		since := missing[name]
		isLong := a.opts.MissingAfter >= 0 && since >= a.opts.MissingAfter
		if !isLong && !p.Anyway && !slices.Contains(p.Without, name) {
			return nil, a.missingError(name, since)
		}
		b.absent[name] = true
		b.tell(api.FleetStep{Proxy: name, Phase: api.FleetMissing, Reason: absence(since)})
	}
	if p.Yields {
		if err := a.checkIdle(ctx, p.Service); err != nil {
			return nil, err
		}
	}
	a.mu.Lock()
	a.coordinates[b.plan.ID] = true
	a.mu.Unlock()
	plan := b.plan // the call may outlive its time, and b.plan gets a revision
	var err error
	b.plan.Revision, err = a.call(ctx, func(ctx context.Context) (uint64, error) { return a.opts.Store.Propose(ctx, plan) })
	if err == nil {
		waiting, stop := context.WithTimeout(ctx, p.Timeout)
		err = b.awaitPrepared(waiting)
		stop()
	}
	if err != nil {
		b.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, b.explain(err)
	}
	return b, nil
}

// checkIdle returns an [api.Error] if another change of a service is under way.
func (a *Agent) checkIdle(ctx context.Context, service string) error {
	state, err := a.look(ctx)
	if err != nil {
		return unchanged(unreachable(err))
	}
	if p, isThere := state.Plan(service); isThere {
		if d, _ := state.Decision(service); d.Plan != p.ID {
			return &api.Error{Code: api.CodeSuperseded, Message: fmt.Sprintf("another change of %s is under way in the fleet; nothing has changed", service)}
		}
	}
	return nil
}

// checkGone returns an [api.Error] if a proxy that is said to be gone is not missing.
func checkGone(names, live []string, missing map[string]time.Duration) error {
	for _, name := range names {
		if slices.Contains(live, name) {
			return api.Invalid("%s is heard of: it is part of the fleet", api.Printable(name)).WithHint("leave out %s, or stop that proxy first", api.Field("without"))
		}
		if _, ok := missing[name]; !ok {
			return api.Invalid("there is no proxy %s in the fleet that is missing", api.Printable(name)).WithHint("see %s", api.Operation("fleet"))
		}
	}
	return nil
}

// mayCoordinate returns why this proxy cannot have the fleet decide.
func (a *Agent) mayCoordinate() error {
	if err := a.refusal(); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case lost(a.problem):
		err := &api.Error{Code: api.CodeFleet, Message: a.problem.Error() + "; nothing has changed"}
		return err.WithHint("is the store the right one, and mounted? If it has lost its data, run %s on the proxy that serves what is to stand", api.Operation("fleet restore"))
	case !a.self.Ready:
		return &api.Error{Code: api.CodeFleet, Message: "the proxy has not caught up with its fleet yet: " + a.problem.Error() + "; nothing has changed", Hint: "try again in a moment, or ask another proxy of the fleet"}
	}
	return nil
}

// call calls the store for a revision, and again if it does not answer, for as long as there is
// patience. An error that is an answer is returned at once.
func (a *Agent) call(ctx context.Context, ask func(context.Context) (uint64, error)) (uint64, error) {
	over := time.Now().Add(a.opts.Patience)
	for {
		revision, err := bounded(ctx, a.calls, max(time.Until(over), time.Millisecond), ask)
		if err == nil || isAnswer(err) || ctx.Err() != nil || time.Until(over) < a.opts.Patience/lastWord {
			return revision, err // when there is hardly time left, it is the one that says why
		}
		if !sleep(ctx, a.opts.Poll) {
			return revision, err
		}
	}
}

// isAnswer reports whether an error is about the plan, and not about the store.
func isAnswer(err error) bool {
	_, claimed := errors.AsType[*ClaimedError](err)
	_, invalid := errors.AsType[*api.Error](err)
	return claimed || invalid || errors.Is(err, ErrSuperseded) || errors.Is(err, ErrAbandoned)
}

// explain says why a plan was not decided.
func (b *ballot) explain(err error) error {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e
	}
	if claimed, ok := errors.AsType[*ClaimedError](err); ok {
		return &api.Error{Code: api.CodeRouteConflict, Message: claimed.Error() + "; nothing has changed", Hint: "another deploy has got it first", Cause: err}
	}
	if errors.Is(err, errTimeout) {
		return &api.Error{Code: api.CodeFleet, Message: errTimeout.Error() + "; nothing has changed", Cause: err}
	}
	if errors.Is(err, ErrAbandoned) {
		return &api.Error{
			Code: api.CodeFleet, Message: fmt.Sprintf("the other proxies have given up this change of %s, because it has taken too long, or this proxy was not heard of meanwhile; nothing has changed", b.plan.Service),
			Hint: "try again", Cause: err,
		}
	}
	if errors.Is(err, ErrSuperseded) {
		return &api.Error{
			Code: api.CodeSuperseded, Message: fmt.Sprintf("a newer change of %s has come to another proxy of the fleet, or was decided; this one has changed nothing", b.plan.Service),
			Hint: "see what serves now, and decide anew", Cause: err,
		}
	}
	return unchanged(unreachable(err))
}

func absence(since time.Duration) string {
	return fmt.Sprintf("it has not been heard of for %s, and may still serve what it did then", since.Round(time.Second))
}

// missingError says that a proxy is missing, and what to do about it.
func (a *Agent) missingError(name string, since time.Duration) error {
	err := &api.Error{
		Code:    api.CodeFleet,
		Message: fmt.Sprintf("%s has not been heard of for %s, and has not said goodbye: it may still send requests to the release that serves; nothing has changed", name, since.Round(time.Second)),
	}
	forget := api.Operation("fleet forget " + api.ShellWord(name))
	if a.opts.MissingAfter < 0 {
		return err.WithHint("if it is gone for good, run %s; if not, bring it back", forget)
	}
	left := max(a.opts.MissingAfter-since, time.Second).Round(time.Second)
	return err.WithHint("if it is gone for good, run %s; if not, bring it back, or wait: in %s, the fleet goes on without it", forget, left)
}

// tell tells of a proxy, if there is something new.
func (b *ballot) tell(s api.FleetStep) {
	b.mu.Lock()
	isNew := b.told[s.Proxy] != s.Phase
	b.told[s.Proxy] = s.Phase
	b.mu.Unlock()
	if isNew {
		b.step(s)
	}
}

// awaitPrepared waits until all proxies that were asked are ready.
func (b *ballot) awaitPrepared(ctx context.Context) error {
	var looked time.Time
	return b.poll(ctx, func(acks map[string]Ack) (done bool, err error) {
		for _, name := range b.asked {
			if ack := acks[name]; ack.Step.Phase == api.FleetRefused {
				b.tell(ack.Step)
			}
		}
		var refused []Ack
		waits := 0
		_, missing := b.a.leases.others(b.a.opts.Name, time.Now())
		for _, name := range b.asked {
			ack, ok := acks[name]
			since, isMissing := missing[name]
			switch {
			case ok && ack.Step.Phase == api.FleetRefused:
				refused = append(refused, ack)
			case ok:
				b.tell(ack.Step)
			case isMissing && b.anyway:
				b.leaveOut(name)
			case isMissing:
				return false, b.a.missingError(name, since)
			case b.a.isMember(name):
				waits++
			}
		}
		if len(refused) > 0 {
			return false, b.refusal(refused)
		}
		if waits > 0 && time.Since(looked) < b.a.opts.Poll {
			return false, nil // there may be a rival, of which it is enough to know soon
		}
		looked = time.Now()
		state, err := b.a.look(ctx)
		if err != nil {
			return false, err
		}
		if d, _ := state.Decision(b.plan.Service); d.Revision != b.plan.Base {
			return false, ErrSuperseded
		}
		switch newest, ok := state.Plan(b.plan.Service); {
		case !ok:
			return false, ErrAbandoned
		case newest.Revision != b.plan.Revision:
			return false, ErrSuperseded
		}
		return waits == 0, nil
	})
}

// refusal says which proxies have refused, and why.
func (b *ballot) refusal(refused []Ack) error {
	var reasons []string
	for _, ack := range refused {
		reasons = append(reasons, ack.Step.Proxy+" says: "+ack.Step.Reason)
	}
	err := &api.Error{Code: api.CodeNotHealthy}
	if first := refused[0].Error; first != nil {
		copied := *first
		err = &copied
	}
	err.Message = fmt.Sprintf("%d of %d proxies cannot serve it: %s; nothing has changed", len(refused), len(b.asked)+1, strings.Join(reasons, "; "))
	return err
}

// isMember reports whether a proxy has not said goodbye.
func (a *Agent) isMember(name string) bool {
	live, missing := a.leases.others(a.opts.Name, time.Now())
	_, isMissing := missing[name]
	return isMissing || slices.Contains(live, name)
}

// poll reads the acknowledgements, and now and then who is there, until done says that it is over. It returns
// the error of the store if that does not answer for longer than there is patience.
func (b *ballot) poll(ctx context.Context, done func(acks map[string]Ack) (bool, error)) error {
	answered := time.Now()
	var readLeases time.Time
	for {
		news := b.a.coming()
		all, err := bounded(ctx, b.a.calls, b.a.opts.Patience, func(ctx context.Context) ([]Ack, error) { return b.a.opts.Store.Acks(ctx, b.plan.ID) })
		if began := time.Now(); err == nil && began.Sub(readLeases) >= b.a.opts.Poll {
			if err = b.a.readLeases(ctx); err == nil {
				readLeases = began
			}
		}
		if err == nil {
			acks := make(map[string]Ack, len(all))
			for _, ack := range all {
				acks[ack.Step.Proxy] = ack
			}
			var over bool
			over, err = done(acks)
			if over && err == nil {
				return nil
			}
			if err != nil && isAnswer(err) {
				return err
			}
		}
		if err == nil {
			answered = time.Now()
		} else if time.Since(answered) > b.a.opts.Patience {
			return err
		}
		if ctx.Err() != nil {
			return errTimeout
		}
		next := time.NewTimer(b.a.opts.Poll)
		select {
		case <-next.C:
		case <-news:
		case <-ctx.Done():
		}
		next.Stop()
	}
}

// errTimeout means that the proxies have not come to a phase in time.
var errTimeout = errors.New("not all proxies of the fleet have answered in time")

// Decide implements [proxy.Ballot].
func (b *ballot) Decide() (uint64, error) {
	revision, err := b.a.call(b.a.ctx, func(ctx context.Context) (uint64, error) { return b.a.opts.Store.Decide(ctx, b.plan) })
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		b.revision = revision
		return revision, nil
	}
	if isAnswer(err) {
		return 0, b.explain(err)
	}
	b.unknown = true
	return 0, &api.Error{
		Code:    api.CodeFleetUnknown,
		Message: fmt.Sprintf("it is not known whether the fleet has decided on this change of %s: its store has not answered: %s", b.plan.Service, api.Printable(err.Error())),
		Hint:    "do not remove the instances of either release; see what serves when the store answers: if it was decided, all proxies make it so by themselves", Cause: err,
	}
}

// Applied implements [proxy.Ballot].
func (b *ballot) Applied(ctx context.Context) error {
	b.tell(api.FleetStep{Proxy: b.a.opts.Name, Phase: api.FleetApplied})
	_, err := b.await(ctx, b.a.opts.Finish, api.FleetApplied)
	return err
}

// Drained implements [proxy.Ballot].
func (b *ballot) Drained(ctx context.Context, limits api.DrainLimits) ([]api.FleetStep, error) {
	b.tell(api.FleetStep{Proxy: b.a.opts.Name, Phase: api.FleetDrained})
	return b.await(ctx, limits.Requests+limits.Streams+b.a.opts.Finish, api.FleetDrained)
}

// await waits until every other proxy that is there has come to a phase.
func (b *ballot) await(ctx context.Context, timeout time.Duration, phase api.FleetPhase) ([]api.FleetStep, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var steps []api.FleetStep
	var lost []string
	err := b.poll(ctx, func(acks map[string]Ack) (bool, error) {
		live, missing := b.a.leases.others(b.a.opts.Name, time.Now())
		steps, lost = nil, nil
		waits := false
		for _, name := range append(live, slices.Sorted(maps.Keys(missing))...) {
			step := acks[name].Step
			_, isMissing := missing[name]
			if phase == api.FleetApplied && ranks[step.Phase] < ranks[phase] && b.a.leases.isPast(name, b.plan.Service, b.decision()) {
				// Nobody acknowledges a plan any more that a newer one has followed.
				step = api.FleetStep{Proxy: name, Phase: api.FleetApplied}
			}
			switch {
			case ranks[step.Phase] >= ranks[phase]:
				if len(b.plan.Document) > 0 { // of a service that is removed nobody asks
					b.a.leases.confirm(name, b.plan.Service, b.decision())
				}
				b.tell(step)
				steps = append(steps, step)
			case isMissing && b.isAbsent(name):
			case isMissing:
				step = api.FleetStep{Proxy: name, Phase: api.FleetMissing, Reason: absence(missing[name])}
				b.tell(step)
				lost = append(lost, name+": "+step.Reason)
			default:
				waits = true
				lost = append(lost, name+": "+cmp.Or(step.Reason, "it has not said that it has "+string(phase)))
			}
		}
		return !waits, nil
	})
	if err != nil && (len(lost) == 0 || !errors.Is(err, errTimeout)) {
		lost = []string{reason(err)} // it is older than that what was read
	}
	return steps, incomplete(b.plan.Service, lost)
}

// reason says why it is not known how far the others are.
func reason(err error) string {
	if errors.Is(err, errTimeout) {
		return err.Error()
	}
	return unreachable(err).Message
}

// decision returns the revision of the decision.
func (b *ballot) decision() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.revision
}

// leaveOut has nobody wait for a proxy that has gone missing.
func (b *ballot) leaveOut(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.absent[name] = true
}

// isAbsent reports whether the change was made without a proxy.
func (b *ballot) isAbsent(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.absent[name]
}

// Close implements [proxy.Ballot].
func (b *ballot) Close() {
	b.mu.Lock()
	closed, unknown := b.closed, b.unknown
	b.closed = true
	b.mu.Unlock()
	if closed {
		return
	}
	b.a.mu.Lock()
	delete(b.a.coordinates, b.plan.ID)
	b.a.mu.Unlock()
	if unknown || b.plan.Revision == 0 {
		return // nobody knows whether there is a plan, or a decision: whoever sees the plan abandons it (see follow)
	}
	// Nobody waits for that: a plan that stays is presumed to be given up when its time is over.
	b.a.work.begin(func() {
		_ = b.a.do(b.a.ctx, func(ctx context.Context) error { return b.a.opts.Store.Withdraw(ctx, b.plan) })
	})
}
