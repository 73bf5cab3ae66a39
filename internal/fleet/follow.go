package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

// heard is a plan that this proxy has heard of.
type heard struct {
	plan Plan
	// cancel ends that it gets ready.
	cancel context.CancelCauseFunc
}

// errOver ends what is done for a plan that is not the newest any more.
var errOver = errors.New("the proposal is over")

// ranks orders the phases of a proxy: what it has said last is never taken back.
var ranks = map[api.FleetPhase]int{
	api.FleetPrepared: 1, api.FleetRefused: 1, api.FleetFailed: 2, api.FleetApplied: 3, api.FleetDrained: 4,
}

// follow does what a state asks of this proxy. It returns an error as long as there are decisions
// that this proxy has not applied.
func (a *Agent) follow(state State) error {
	a.hear(state)
	defer a.note(state)
	behind := 0
	problem := a.settleImports(state)
	for _, d := range state.Decisions {
		if a.isOwn(d.Plan) {
			continue // whoever coordinates it applies it
		}
		isAwaited := state.isAwaited(d) && !a.isElsewhere(d.Plan)
		isDone := func() bool {
			return a.proxy.Revision(d.Service) >= d.Revision && (!isAwaited || a.hasSaid(d.Plan))
		}
		if isDone() {
			continue
		}
		if a.proxy.Revision(d.Service) < d.Revision {
			behind++
		}
		if err := a.checkImports(d); err != nil {
			problem = err
			continue
		}
		if !a.beginApplying(d) {
			continue
		}
		if isDone() { // by whoever was at it until now
			a.mu.Lock()
			delete(a.applying, d.Service)
			a.mu.Unlock()
			continue
		}
		a.term.work.begin(func() { a.apply(d, isAwaited) })
	}
	if problem != nil {
		return problem
	}
	if behind > 0 {
		return fmt.Errorf("the proxy is catching up with its fleet: %s of %s", api.Count(behind, "service"), api.Count(len(state.Decisions), "decision"))
	}
	return nil
}

// beginApplying notes that a decision is being applied. It returns false if the service is at another one.
func (a *Agent) beginApplying(d Decision) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.applying[d.Service] {
		return false
	}
	a.applying[d.Service] = true
	a.applied[d.Service] = d.Plan
	return true
}

// hasSaid reports whether this proxy has acknowledged that it goes by a plan.
func (a *Agent) hasSaid(plan string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return ranks[a.acks[plan].Step.Phase] >= ranks[api.FleetApplied]
}

// isElsewhere reports whether another process of this proxy coordinates a plan.
func (a *Agent) isElsewhere(plan string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.elsewhere[plan] != 0
}

// isOwn reports whether this proxy coordinates a plan.
func (a *Agent) isOwn(plan string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.coordinates[plan]
}

// hear gets the proxy ready for plans that are new, and gives up what it has prepared for those that
// are over.
func (a *Agent) hear(state State) {
	_, missing := a.leases.others(a.opts.Name, time.Now())
	a.mu.Lock()
	defer a.mu.Unlock()
	newest := make(map[string]Plan, len(state.Plans))
	for _, p := range state.Plans {
		newest[p.Service] = p
	}
	for service, h := range a.known {
		if newest[service].ID != h.plan.ID {
			h.cancel(errOver)
			delete(a.known, service)
		}
	}
	for plan := range a.elsewhere {
		if !slices.ContainsFunc(state.Plans, func(p Plan) bool { return p.ID == plan }) {
			delete(a.elsewhere, plan)
		}
	}
	for plan := range a.acks {
		isAwaited := slices.ContainsFunc(state.Plans, func(p Plan) bool { return p.ID == plan }) ||
			slices.ContainsFunc(state.Decisions, func(d Decision) bool { return d.Plan == plan && state.isAwaited(d) })
		if !isAwaited && !a.coordinates[plan] {
			delete(a.acks, plan)
		}
	}
	for service, p := range newest {
		if a.coordinates[p.ID] {
			continue
		}
		d, _ := state.Decision(service)
		isDecided := d.Plan == p.ID
		if a.elsewhere[p.ID] != 0 {
			continue
		}
		if p.Coordinator == a.opts.Name || missing[p.Coordinator] > a.opts.Lease+a.opts.Patience {
			// Its coordinator has died, or has given up on a store that does not answer.
			end := a.opts.Store.Abandon
			if isDecided { // and nobody waits for acknowledgements of it
				end = a.opts.Store.Withdraw
			}
			a.endPlan(a.term.ctx, p, end)
			continue
		}
		if isDecided || a.known[service] != nil {
			continue
		}
		ctx, cancel := context.WithCancelCause(a.term.ctx)
		a.known[service] = &heard{p, cancel}
		a.term.work.begin(func() { a.prepare(ctx, p) })
	}
}

// endPlan withdraws or abandons a plan in the store, and tries again until it has or ctx ends. mu must be held.
func (a *Agent) endPlan(ctx context.Context, p Plan, end func(context.Context, Plan) error) {
	if a.ending[p.ID] {
		return
	}
	a.ending[p.ID] = true
	a.term.work.begin(func() {
		for a.do(ctx, func(ctx context.Context) error { return end(ctx, p) }) != nil && sleep(ctx, a.opts.Poll) {
		}
		a.mu.Lock()
		delete(a.ending, p.ID)
		a.mu.Unlock()
	})
}

// prepare gets the proxy ready for a plan, and keeps what it has for it until over ends. When the plan's time is
// over, it abandons the plan first: so nothing is decided for which this proxy has given up what it has.
func (a *Agent) prepare(over context.Context, p Plan) {
	ctx, cancel := context.WithTimeout(over, p.Timeout)
	defer cancel()
	err := a.proxy.Prepare(ctx, proxy.Proposal{
		Deployment: p.ID, Service: p.Service, Document: p.Document, Routes: p.Routes, Base: p.Base, Force: p.Force, Timeout: p.Timeout,
	})
	if ctx.Err() == nil {
		ack := Ack{Plan: p.ID, Step: api.FleetStep{Proxy: a.opts.Name, Phase: api.FleetPrepared}}
		if err != nil {
			refusal := api.AsError(err)
			ack.Step.Phase, ack.Step.Reason, ack.Error = api.FleetRefused, refusal.Message, refusal
		}
		a.acknowledge(ctx, ack)
	}
	<-ctx.Done()
	if over.Err() == nil {
		a.mu.Lock()
		a.endPlan(over, p, a.opts.Store.Abandon)
		a.mu.Unlock()
		<-over.Done() // when it is seen that the plan is over
	}
	if !a.isDecided(p) {
		a.proxy.GiveUp(p.Service, p.ID)
	}
}

// isDecided reports whether this proxy applies a plan: that takes what was prepared.
func (a *Agent) isDecided(p Plan) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.applied[p.Service] == p.ID
}

// apply makes a service what was decided, and acknowledges that if somebody waits for it.
func (a *Agent) apply(d Decision, awaited bool) {
	left, err := a.proxy.ApplyDecision(d.Service, d.Document, d.Revision)
	if err != nil {
		sleep(a.term.ctx, a.fails(d.Service, err))
	}
	applied := Ack{Plan: d.Plan, Step: api.FleetStep{Proxy: a.opts.Name, Phase: api.FleetApplied}}
	a.mu.Lock()
	if err == nil {
		delete(a.failing, d.Service)
		if awaited {
			a.say(applied) // or whoever looks before it is acknowledged has it applied again
		}
	}
	delete(a.applying, d.Service)
	select {
	case a.advanced <- struct{}{}:
	default:
	}
	if h := a.known[d.Service]; h != nil && h.plan.ID == d.Plan {
		h.cancel(errOver)
		delete(a.known, d.Service)
	}
	a.mu.Unlock()
	if err != nil {
		if awaited {
			a.acknowledge(a.term.ctx, Ack{Plan: d.Plan, Step: api.FleetStep{Proxy: a.opts.Name, Phase: api.FleetFailed, Reason: api.AsError(err).Message}})
		}
		return
	}
	a.proxy.GiveUp(d.Service, d.Plan) // if it was not of use
	if !awaited {
		return
	}
	a.acknowledge(a.term.ctx, applied)
	if drain, err := a.proxy.AwaitDrains(a.term.ctx, left); err == nil {
		a.acknowledge(a.term.ctx, Ack{Plan: d.Plan, Step: api.FleetStep{Proxy: a.opts.Name, Phase: api.FleetDrained, Drain: &drain}})
	}
}

// failure is how a service could not be made what was decided the last time.
type failure struct {
	text string
	// pause is how long it was waited then.
	pause time.Duration
}

// maxPause bounds the pauses between the attempts to make a service what was decided. What is decided later waits
// for the end of a pause.
const maxPause = 5 * time.Second

// fails notes that a service could not be made what was decided, and returns how long to wait before the next
// attempt. It is logged once, and again if the reason changes.
func (a *Agent) fails(service string, err error) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.failing[service]
	now := failure{err.Error(), min(max(2*before.pause, a.opts.Poll), maxPause)}
	if a.failing[service] = now; now.text != before.text {
		a.opts.Logger.Error("a service could not be made what the fleet has decided; this is tried again", zap.String("service", service), zap.Error(err))
	}
	return now.pause
}

// say notes what this proxy says of a plan, unless it has said more. mu must be held.
func (a *Agent) say(ack Ack) bool {
	if before, ok := a.acks[ack.Plan]; ok && ranks[before.Step.Phase] > ranks[ack.Step.Phase] {
		return false
	}
	a.acks[ack.Plan] = ack
	return true
}

// acknowledge writes what this proxy says of a plan, until it is written or ctx ends.
func (a *Agent) acknowledge(ctx context.Context, ack Ack) {
	for {
		a.mu.Lock()
		isNews := a.say(ack)
		a.mu.Unlock()
		if !isNews {
			return
		}
		err := a.do(ctx, func(ctx context.Context) error { return a.opts.Store.Ack(ctx, ack) })
		if err == nil || ctx.Err() != nil {
			return
		}
		if !sleep(ctx, a.opts.Poll) {
			return
		}
	}
}

// sleep returns false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
