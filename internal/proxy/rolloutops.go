package proxy

import (
	"errors"
	"fmt"

	"github.com/parachute-proxy/parachute/internal/api"
)

// abortedByHand and pausedByHand are the reasons that people give by an operation.
const (
	abortedByHand = "it was aborted by hand"
	pausedByHand  = "paused by hand"
)

// Rollout changes a rollout that is under way. It returns when releases that have left the
// line-up by that have drained, and an [api.Error] with [api.CodeNotFound] if there is no
// rollout. To promote a release that nothing judges any more, but that has one before it ready
// to serve again, lets that one go.
func (e *Engine) Rollout(name string, req api.RolloutRequest) (api.RolloutResult, error) {
	if err := req.Validate(); err != nil {
		return api.RolloutResult{}, err
	}
	svc, err := e.operate(name, req.IfMatch)
	if err != nil {
		return api.RolloutResult{}, err
	}
	defer e.operated(svc)
	e.mu.Lock()
	l := svc.lineup()
	e.mu.Unlock()
	var left []*release
	switch {
	case l == nil, l.rollout == nil && l.standby == nil:
		return api.RolloutResult{}, noRollout(name)
	case l.rollout == nil && req.Action == api.ActionPromote:
		left, err = e.letGo(svc, l.standby)
	case l.rollout == nil && req.Action == api.ActionAbort:
		left, err = e.takeBack(svc, l)
	case l.rollout == nil:
		return api.RolloutResult{}, noRollout(name)
	default:
		left, err = e.changeRollout(svc, l.rollout, req)
	}
	if errors.Is(err, errRolloutOver) {
		err = noRollout(name)
	}
	result := api.RolloutResult{Service: name}
	for _, r := range left {
		<-r.drained
		result.Drained = append(result.Drained, r.drain)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if l := svc.lineup(); l != nil {
		result.Serving, result.Rollout = l.active.Version, l.rollout.status(l.hold != nil)
	}
	return result, err
}

func noRollout(name string) error {
	err := &api.Error{Code: api.CodeNotFound, Message: fmt.Sprintf("%s has no rollout: one release serves all, and no other one is ready to", name)}
	return err.WithHint("deploy with %s, %s or %s", api.Field("watch"), api.Field("canary"), api.Field("steps"))
}

// changeRollout does what is asked for with a rollout. It returns the releases that have left
// the line-up.
func (e *Engine) changeRollout(svc *service, r *rollout, req api.RolloutRequest) ([]*release, error) {
	at := r.position()
	switch req.Action {
	case api.ActionPromote:
		return e.promote(svc, r, req.Full, "")
	case api.ActionAbort:
		return e.revert(svc, r, abortedByHand)
	case api.ActionSet:
		if at.Phase != api.PhaseCanary {
			return nil, api.Invalid("the share of a release can be set during a canary, and this is a %s", phaseWords(at.Phase))
		}
		at.Weight, at.Timed, at.Remaining = req.Weight, false, 0
		at.Paused, at.ByHand = "", false
		return nil, e.reweigh(svc, r, at)
	case api.ActionPause:
		if at.Paused != "" {
			return nil, nil
		}
		at.Paused, at.ByHand = pausedByHand, true
	case api.ActionResume:
		if at.Paused == "" {
			return nil, nil
		}
		if !at.ByHand { // it was inconclusive: it gets its time again
			at.Remaining = r.duration(at)
		}
		at.Paused, at.ByHand = "", false
	}
	_, err := e.change(svc, r, &at, func(l lineup) lineup { return l }, nil)
	if err == nil {
		e.tellRollout(r, api.Event{Kind: api.EventRollout, Rollout: r.status(e.isHeld(svc))})
	}
	return nil, err
}

// duration returns how long the part of the rollout lasts that a position is in.
func (r *rollout) duration(at position) api.Duration {
	switch at.Phase {
	case api.PhaseCanary:
		return r.spec.Steps[at.Step].For
	case api.PhaseSlowStart:
		return r.spec.SlowStart
	}
	return r.spec.Watch
}

func phaseWords(p api.RolloutPhase) string {
	if p == api.PhaseSlowStart {
		return "slow start"
	}
	return string(p)
}

// letGo has the release drain that was kept ready.
func (e *Engine) letGo(svc *service, standby *release) ([]*release, error) {
	return e.changeKept(svc, standby, func(l lineup) lineup { return l.settled(l.active) })
}

// takeBack has the release serve again that was kept ready.
func (e *Engine) takeBack(svc *service, l *lineup) ([]*release, error) {
	left, err := e.changeKept(svc, l.standby, func(now lineup) lineup { return now.settled(now.standby) })
	if err == nil {
		e.rememberOutcome(l.active, l.standby, api.OutcomeReverted, "rolled back by hand")
		e.feed.publish(api.Event{Kind: api.EventReverted, Service: svc.name, Release: l.active.Version, Previous: l.standby.Version, Reason: "rolled back by hand"})
	}
	return left, err
}

// changeKept changes a line-up in which a release is kept ready, and no rollout runs.
func (e *Engine) changeKept(svc *service, standby *release, change func(lineup) lineup) ([]*release, error) {
	limits := api.DrainLimits{}
	left, _, err := e.changeLineup(svc, "storing which release serves failed", func(l lineup) (lineup, error) {
		if l.standby != standby || l.rollout != nil {
			return l, errRolloutOver
		}
		l = change(l)
		limits = l.active.Spec.Options.Drain()
		return l, nil
	})
	e.drainAside(svc, left, limits, func(d api.Drain) {
		e.feed.publish(api.Event{Kind: api.EventDrained, Service: svc.name, Release: d.Release, Targets: d.Targets, Drain: &d})
	})
	return left, err
}
