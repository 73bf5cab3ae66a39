package proxy

import (
	"errors"
	"fmt"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Reasons that people give by an operation.
const (
	abortedByHand    = "it was aborted by hand"
	rolledBackByHand = "it was rolled back by hand"
	pausedByHand     = "paused by hand"
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
		left, err = e.letGo(svc, l.standby, req.IfMatch)
	case l.rollout == nil && req.Action == api.ActionAbort:
		left, err = e.takeBack(svc, l, req.IfMatch, nil)
	case l.rollout == nil:
		return api.RolloutResult{}, noRollout(name)
	default:
		left, err = e.changeRollout(svc, l.rollout, req)
	}
	if errors.Is(err, errRolloutOver) {
		err = noRollout(name)
	}
	result := api.RolloutResult{Service: name}
	drains, _, others := e.awaitLeft(svc, left)
	result.Drained = drains
	if err == nil {
		err = others
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if l := svc.lineup(); l != nil {
		result.Serving, result.Rollout = l.active.Version, l.rolloutStatus()
		if l.rollout == nil && l.standby != nil {
			result.Kept = l.standby.Version
		}
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
	switch req.Action {
	case api.ActionPromote:
		return e.promote(svc, r, promotion{full: req.Full, ifMatch: req.IfMatch})
	case api.ActionAbort:
		return e.revert(svc, r, reversion{reason: abortedByHand, ifMatch: req.IfMatch})
	case api.ActionSet:
		return nil, e.setWeight(svc, r, req)
	}
	_, err := e.change(svc, r, rolloutChange{
		ifMatch: req.IfMatch,
		to: func(at position) position {
			switch {
			case req.Action == api.ActionPause && at.Paused == "":
				at.Paused, at.ByHand = pausedByHand, true
			case req.Action == api.ActionResume && at.Paused != "":
				if !at.ByHand { // it was inconclusive: it gets its time again
					at.Remaining = r.duration(at)
				}
				at.Paused, at.ByHand = "", false
			}
			return at
		},
		done: func(api.Seconds) { e.tellPosition(svc, r) },
	})
	return nil, err
}

// setWeight gives a canary another share, which it has until somebody decides.
func (e *Engine) setWeight(svc *service, r *rollout, req api.RolloutRequest) error {
	if phase := r.position().Phase; phase != api.PhaseCanary {
		return api.Invalid("the share of a release can be set during a canary, and this is a %s", phaseWords(phase))
	}
	if _, named := r.spec.Cookie(); !named {
		switch {
		case *req.Weight == api.Whole:
			return api.Invalid("100%% is a promotion").WithHint("use the action %s, with full", api.ActionPromote)
		case len(req.Values) > 0:
			return api.Invalid("values are for a canary whose clients are known by a cookie of the application's").
				WithHint("deploy it with %s", api.Field("canary_by").Is("cookie:NAME"))
		}
	}
	_, err := e.change(svc, r, rolloutChange{
		ifMatch: req.IfMatch,
		to: func(at position) position {
			if at.Phase == api.PhaseCanary {
				at.Weight, at.Timed, at.Remaining, at.Paused, at.ByHand = req.Weight, false, 0, "", false
			}
			return at
		},
		next: func(l lineup) lineup {
			if l.candidate != nil {
				l.candidate = l.candidate.with(*req.Weight).of(req.Values, req.Off)
			}
			return l
		},
		done: func(api.Seconds) {
			e.tellPosition(svc, r)
			e.waitIfUntimed(r)
		},
	})
	return err
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
func (e *Engine) letGo(svc *service, standby *release, ifMatch string) ([]*release, error) {
	return e.changeKept(svc, standby, ifMatch, false, func(l lineup) lineup { return l.settled(l.active) }, nil)
}

// takeBack has the release serve again that was kept ready. It calls done, which may be nil,
// when it does.
func (e *Engine) takeBack(svc *service, l *lineup, ifMatch string, done func(took api.Seconds)) ([]*release, error) {
	return e.changeKept(svc, l.standby, ifMatch, true, func(now lineup) lineup {
		next := now.settled(now.standby)
		next.ended = e.ending(now.active, reverted, api.OutcomeReverted, rolledBackByHand)
		return next
	}, func(took api.Seconds) {
		e.rememberOutcome(l.active, l.standby, api.OutcomeReverted, rolledBackByHand)
		e.feed.publish(api.Event{Kind: api.EventReverted, Service: svc.name, Release: l.active.Version, Previous: l.standby.Version, Reason: rolledBackByHand})
		if done != nil {
			done(took)
		}
	})
}

// changeKept changes a line-up in which a release is kept ready, and no rollout runs. anyway is that of [lineupChange].
func (e *Engine) changeKept(svc *service, standby *release, ifMatch string, anyway bool, change func(lineup) lineup, done func(took api.Seconds)) ([]*release, error) {
	return e.changeLineup(svc, lineupChange{
		failed: "storing which release serves failed", ifMatch: ifMatch, anyway: anyway,
		next: func(l lineup) (lineup, error) {
			if l.standby != standby || l.rollout != nil {
				return l, errRolloutOver
			}
			return change(l), nil
		},
		done:    done,
		drained: func(d api.Drain) { e.publishDrained(svc.name, d) },
	})
}
