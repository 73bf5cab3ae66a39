package proxy

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
)

// errRolloutOver means that a rollout has ended, or another one has taken its place.
var errRolloutOver = errors.New("the rollout is over")

// changeLineup gives a service another line-up, once it is stored. Releases that are not in it
// any more begin to drain; they are returned. change is told what there is, and may refuse.
// failed is what the error says, a whole phrase, if it cannot be stored. took is how long the
// switch took.
func (e *Engine) changeLineup(svc *service, failed string, change func(lineup) (lineup, error)) (left []*release, took api.Seconds, err error) {
	svc.committing <- struct{}{}
	defer func() { <-svc.committing }()
	e.mu.Lock()
	l := svc.lineup()
	e.mu.Unlock()
	if l == nil {
		return nil, 0, &api.Error{Code: api.CodeNotFound, Message: "the service " + svc.name + " serves nothing, so there is nothing to change"}
	}
	next, err := change(*l)
	if err != nil {
		return nil, 0, err
	}
	next.sign(l)
	// Nobody else changes the line-up while the commit slot is taken.
	if err := e.save(svc, &next); err != nil {
		return nil, 0, notStored(failed, err)
	}
	start := time.Now()
	e.mu.Lock()
	e.switchTo(svc, &next, nil)
	left = e.leave(svc, l.without(&next))
	e.mu.Unlock()
	took = api.Since(start)
	for _, r := range left {
		e.forgetCertificates(r)
	}
	if next.active != l.active {
		e.keepCertificates(next.active)
	}
	return left, took, nil
}

// leave has releases of a service drain that are out of its line-up. Engine.mu must be held.
func (e *Engine) leave(svc *service, left []*release) []*release {
	for _, r := range left {
		e.free(svc.name, r.Spec.Routes)
		svc.draining = append(svc.draining, r)
	}
	return left
}

// drainAside drains releases that have left the line-up of a service, with the limits of the
// one that serves, and tells report of each. It does not wait.
func (e *Engine) drainAside(svc *service, left []*release, limits api.DrainLimits, report func(api.Drain)) {
	for _, r := range left {
		e.operations.Go(func() {
			e.drainRelease(svc, r, limits, nil, report)
			e.mu.Lock()
			e.forgetIfUnused(svc)
			e.mu.Unlock()
		})
	}
}

// ongoing returns a line-up, if a rollout is a part of it.
func (r *rollout) ongoing(l lineup) (lineup, error) {
	if l.rollout != r || r.isOver() {
		return l, errRolloutOver
	}
	return l, nil
}

// change is [Engine.changeLineup] for a rollout that moves to another position meanwhile. Then
// it calls done, which may be nil, and what has left begins to drain.
func (e *Engine) change(svc *service, r *rollout, to *position, next func(lineup) lineup, done func(took api.Seconds)) ([]*release, error) {
	undo := func() {}
	limits := api.DrainLimits{}
	left, took, err := e.changeLineup(svc, "storing how a rollout goes on failed", func(l lineup) (lineup, error) {
		l, err := r.ongoing(l)
		if err != nil {
			return l, err
		}
		if to != nil {
			undo = r.move(*to)
		}
		l = next(l)
		limits = l.active.Spec.Options.Drain()
		return l, nil
	})
	if err != nil {
		undo()
		return nil, err
	}
	if done != nil {
		done(took)
	}
	e.drainAside(svc, left, limits, func(d api.Drain) { e.tellDrained(r, d) })
	return left, nil
}

// tellDrained tells of a release that has left the line-up because of a rollout.
func (e *Engine) tellDrained(r *rollout, d api.Drain) {
	if r.d != nil {
		r.d.drained(d)
		return
	}
	e.feed.publish(api.Event{Kind: api.EventDrained, Service: r.next.Spec.Service, Release: d.Release, Targets: d.Targets, Drain: &d})
}

// shiftWeight gives a candidate the share that it has at this moment of a slow start. That is
// not stored: after a restart, the slow start begins where it was stored last.
func (e *Engine) shiftWeight(svc *service, r *rollout) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := svc.lineup()
	if l == nil || l.rollout != r || l.candidate == nil {
		return
	}
	next := *l
	next.candidate = l.candidate.with(r.weight())
	// Whoever has the commit slot may be about to store another line-up, which is newer.
	svc.active.lineup.CompareAndSwap(l, &next)
}

// promote goes on with the next step of a rollout, and after the last one ends it: the release
// is trusted. full leaves out all steps and the watch. reason is told, and may be empty.
func (e *Engine) promote(svc *service, r *rollout, full bool, reason string) ([]*release, error) {
	at := r.position()
	next := at.Step + 1
	if at.Phase == api.PhaseCanary && !full && next < len(r.spec.Steps) && r.spec.Steps[next].Weight < api.Whole {
		return nil, e.reweigh(svc, r, r.stepAt(next))
	}
	if at.Phase != api.PhaseWatch && r.spec.Watch > 0 && !full {
		return e.goToWatch(svc, r)
	}
	return e.change(svc, r, nil, func(l lineup) lineup {
		l = l.settled(r.next)
		if r.spec.Keep {
			l.standby = r.previous
		}
		return l
	}, func(took api.Seconds) {
		if at.Phase != api.PhaseWatch { // of a watch, the switch was before it
			e.switchedByRollout(r, took)
		}
		if r.spec.Keep && r.d != nil {
			r.d.kept(r.previous)
		}
		e.log().Info("a release is trusted", zap.String("service", svc.name), zap.Int("release", r.next.Version), zap.String("reason", reason))
		e.tellRollout(r, api.Event{Kind: api.EventPromoted, Reason: reason})
		r.finish(promoted, reason)
	})
}

// reweigh gives a candidate the share of a position.
func (e *Engine) reweigh(svc *service, r *rollout, to position) error {
	before := r.position()
	to.Requests, to.Failures, to.SlowerThan = before.Requests, before.Failures, before.SlowerThan
	_, err := e.change(svc, r, &to, func(l lineup) lineup {
		if l.candidate != nil {
			l.candidate = l.candidate.with(to.weight(&r.spec))
		}
		return l
	}, nil)
	if err != nil {
		return err
	}
	e.tellRollout(r, api.Event{Kind: api.EventRollout, Rollout: r.status(e.isHeld(svc))})
	e.waitIfUntimed(r)
	return nil
}

// goToWatch has a candidate serve all, while the release before is ready to serve again.
func (e *Engine) goToWatch(svc *service, r *rollout) ([]*release, error) {
	to := r.watchAt()
	e.mu.Lock()
	to.compareWith(r.previous)
	e.mu.Unlock()
	return e.change(svc, r, &to, func(l lineup) lineup {
		l.active, l.candidate, l.standby = r.next, nil, r.previous
		return l
	}, func(took api.Seconds) {
		r.judge()
		e.switchedByRollout(r, took)
		e.tellRollout(r, api.Event{Kind: api.EventRollout, Rollout: r.status(e.isHeld(svc))})
	})
}

// switchedByRollout tells of the switch that a rollout has made.
func (e *Engine) switchedByRollout(r *rollout, took api.Seconds) {
	e.remember(r.previous, r.next)
	if r.d != nil {
		r.d.switched(r.previous, r.next, nil, took, r.position().Phase == api.PhaseWatch)
		return
	}
	e.feed.publish(api.Event{Kind: api.EventSwitched, Service: r.next.Spec.Service, Release: r.next.Version, Previous: r.previous.Version, SwitchTime: took})
}

// revert ends a rollout by going back to the release before.
func (e *Engine) revert(svc *service, r *rollout, reason string) ([]*release, error) {
	watched := r.position().Phase == api.PhaseWatch
	outcome := api.OutcomeAborted
	if watched {
		outcome = api.OutcomeReverted
	}
	return e.change(svc, r, nil, func(l lineup) lineup { return l.settled(r.previous) }, func(api.Seconds) {
		e.rememberOutcome(r.next, r.previous, outcome, reason)
		e.log().Warn("a release has left again", zap.String("service", svc.name), zap.Int("release", r.next.Version), zap.String("reason", reason))
		e.tellRollout(r, api.Event{Kind: api.EventReverted, Previous: r.previous.Version, Reason: reason, Rollout: r.status(e.isHeld(svc))})
		r.finish(reverted, reason)
	})
}

// replaceRollout ends a rollout whose place a newer deployment has taken, of next.
func (e *Engine) replaceRollout(r *rollout, next *release) {
	reason := fmt.Sprintf("v%d has taken its place", next.Version)
	if at := r.position(); at.Phase != api.PhaseWatch {
		e.rememberOutcome(r.next, r.previous, api.OutcomeAborted, reason)
	}
	r.finish(replaced, reason)
}

// pauseRollout has a rollout wait for somebody to decide.
func (e *Engine) pauseRollout(svc *service, r *rollout, why string) error {
	to := r.position()
	to.Paused, to.Remaining = why, 0
	if _, err := e.change(svc, r, &to, func(l lineup) lineup { return l }, nil); err != nil {
		return err
	}
	e.waitIfUntimed(r)
	return nil
}

// storeRollout stores what is left of the time of a rollout.
func (e *Engine) storeRollout(svc *service, r *rollout) {
	if _, err := e.change(svc, r, nil, func(l lineup) lineup { return l }, nil); err != nil && !errors.Is(err, errRolloutOver) {
		e.log().Warn("it could not be stored how much is left of a rollout", zap.String("service", svc.name), zap.Error(err))
	}
}
