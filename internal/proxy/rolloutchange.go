package proxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
)

var (
	// errRolloutOver means that a rollout has ended, or another one has taken its place.
	errRolloutOver = errors.New("the rollout is over")
	// errMoved means that a rollout stands elsewhere than where it was decided what becomes
	// of it.
	errMoved = errors.New("the rollout has moved on")
)

// overtaken reports whether err is that of a change of a rollout that others have changed first.
func overtaken(err error) bool {
	return errors.Is(err, errRolloutOver) || errors.Is(err, errMoved) || api.ErrorCode(err) == api.CodeSuperseded // by another proxy of the fleet
}

// lineupChange is a change of the line-up of a service.
type lineupChange struct {
	// failed is what the error says, a whole phrase, if it cannot be stored.
	failed string
	// ifMatch is the generation that the service has to be in; empty for any.
	ifMatch string
	// anyway has proxies of a fleet that are not heard of not be waited for. yields has other changes go first that are
	// under way in the fleet, so that a step of a rollout ends no deployment.
	anyway, yields bool
	// aside has nobody wait for the other proxies of a fleet, for a rollout that goes on by itself: it judges the release
	// meanwhile.
	aside bool
	// next returns the line-up that follows another one, or why it cannot be changed.
	next func(lineup) (lineup, error)
	// done is called when the line-up has changed, with how long the switch took. What has left
	// does not drain yet. It may be nil.
	done func(took api.Seconds)
	// drained is told of the drain of each release that has left.
	drained func(api.Drain)
}

// changeLineup gives a service another line-up, once it is stored. Releases that are not in it
// any more begin to drain; they are returned. In a fleet, it returns when the other proxies have the line-up, too.
func (e *Engine) changeLineup(svc *service, c lineupChange) (left []*release, err error) {
	left, ballot, err := e.commitLineup(svc, c)
	if err != nil {
		return left, err
	}
	// Other changes, and the process that takes over from this one, do not wait for the other proxies.
	if !c.aside {
		defer ballot.Close()
		return left, ballot.Applied(context.Background())
	}
	e.operations.Go(func() {
		defer ballot.Close()
		if err := ballot.Applied(context.Background()); err != nil {
			e.log().Warn("a rollout has gone on, but not all proxies of the fleet are known to go by it", zap.String("service", svc.name), zap.Error(err))
		}
	})
	return left, nil
}

// commitLineup is changeLineup up to the moment from which on this proxy goes by the change. The ballot is to be closed
// unless there is an error.
func (e *Engine) commitLineup(svc *service, c lineupChange) (left []*release, ballot Ballot, err error) {
	svc.committing <- struct{}{}
	defer func() { <-svc.committing }()
	e.mu.Lock()
	l := svc.lineup()
	if err = e.mayCommit(); err == nil {
		err = e.checkGeneration(svc, svc.name, c.ifMatch)
	}
	e.mu.Unlock()
	switch {
	case err != nil:
		return nil, nil, err
	case l == nil:
		return nil, nil, &api.Error{Code: api.CodeNotFound, Message: "the service " + svc.name + " serves nothing, so there is nothing to change"}
	}
	next, err := c.next(*l)
	if err != nil {
		return nil, nil, err
	}
	next.sign(l)
	// Nobody else changes the line-up while the commit slot is taken.
	ballot, revision, err := e.agree(svc, &next, c.anyway, c.yields)
	if err != nil {
		return nil, nil, err
	}
	if err := e.save(svc, &next); err != nil {
		ballot.Close()
		return nil, nil, e.notKept(notStored(c.failed, err))
	}
	start := time.Now()
	e.mu.Lock()
	e.switchTo(svc, &next, nil)
	e.follows(svc.name, revision)
	left = e.leave(svc, l.without(&next))
	e.mu.Unlock()
	took := api.Since(start)
	for _, r := range left {
		e.forgetCertificates(r)
	}
	if next.active != l.active {
		e.keepCertificates(next.active)
	}
	if c.done != nil {
		c.done(took)
	}
	e.drainAside(svc, left, next.active.Spec.Options.Drain(), c.drained)
	return left, ballot, nil
}

// rolloutChange is a change of a rollout. Fields may be left out.
type rolloutChange struct {
	// epoch is that of the position about which it was decided; nil stands for any.
	epoch *int
	// ifMatch is that of [lineupChange].
	ifMatch string
	// anyway is that of [lineupChange].
	anyway bool
	// to returns where the rollout then stands. It must not wait for anything.
	to func(position) position
	// next returns the line-up that follows.
	next func(lineup) lineup
	// done is called with how long the switch took.
	done func(took api.Seconds)
}

// change changes a rollout, and the line-up with it.
func (e *Engine) change(svc *service, r *rollout, c rolloutChange) ([]*release, error) {
	undo, decided := func() {}, false
	left, err := e.changeLineup(svc, lineupChange{
		failed: "storing how a rollout goes on failed", ifMatch: c.ifMatch, anyway: c.anyway, yields: c.epoch != nil && !c.anyway, aside: c.epoch != nil,
		next: func(l lineup) (lineup, error) {
			switch {
			case l.rollout != r || r.isOver():
				return l, errRolloutOver
			case c.epoch != nil && *c.epoch != r.currentEpoch():
				return l, errMoved
			case c.to != nil:
				undo = r.move(c.to)
			}
			if c.next != nil {
				l = c.next(l)
			}
			return l, nil
		},
		done: func(took api.Seconds) {
			decided = true
			r.setFollowed(false)
			if c.done != nil {
				c.done(took)
			}
		},
		drained: func(d api.Drain) { e.tellDrained(r, d) },
	})
	if err != nil && !decided {
		undo()
	}
	return left, err
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

// promotion is how a release is promoted. Fields may be left out.
type promotion struct {
	// full leaves out all steps and the watch.
	full bool
	// gone says that the release before cannot be kept.
	gone bool
	// reason is told; it may be empty.
	reason string
	// epoch and ifMatch are those of [rolloutChange].
	epoch   *int
	ifMatch string
}

// promote goes on with the next step of a rollout, and after the last one ends it: the release
// is trusted.
func (e *Engine) promote(svc *service, r *rollout, p promotion) ([]*release, error) {
	var from, to position
	ends := false
	watch := r.watchAt()
	e.mu.Lock()
	watch.compareWith(r.previous)
	e.mu.Unlock()
	return e.change(svc, r, rolloutChange{
		epoch: p.epoch, ifMatch: p.ifMatch,
		to: func(at position) position {
			from, to = at, at
			next := r.nextStep(at)
			switch {
			case at.Phase == api.PhaseCanary && !p.full && next < len(r.spec.Steps) && r.spec.Steps[next].Weight < api.Whole:
				to = r.stepAt(next)
				to.Requests, to.Failures, to.SlowerThan = at.Requests, at.Failures, at.SlowerThan
			case at.Phase != api.PhaseWatch && r.spec.Watch > 0 && !p.full:
				to = watch
			default:
				ends = true
			}
			return to
		},
		next: func(l lineup) lineup {
			switch {
			case ends:
				l = l.settled(r.next)
				l.ended = e.ending(r.next, promoted, "", p.reason)
				if r.spec.Keep && !p.gone {
					l.standby = r.previous
				}
			case to.Phase == api.PhaseWatch:
				l.active, l.candidate, l.standby = r.next, nil, r.previous
			default:
				l.candidate = l.candidate.with(to.weight(&r.spec))
			}
			return l
		},
		done: func(took api.Seconds) {
			if from.Phase != api.PhaseWatch && (ends || to.Phase == api.PhaseWatch) {
				e.switchedByRollout(r, took)
			}
			if !ends {
				if to.Phase == api.PhaseWatch {
					e.lookBack(r)
					r.judge()
				}
				e.tellPosition(svc, r)
				e.waitIfUntimed(r)
				return
			}
			if r.spec.Keep && !p.gone && r.d != nil {
				r.d.kept(r.previous)
			}
			e.log().Info("a release is trusted", zap.String("service", svc.name), zap.Int("release", r.next.Version), zap.String("reason", p.reason))
			e.tellRollout(r, api.Event{Kind: api.EventPromoted, Reason: p.reason})
			r.finish(end{how: promoted, reason: p.reason})
		},
	})
}

// nextStep returns the index of the first step that gives more than a position does, or that
// comes after it.
func (r *rollout) nextStep(at position) int {
	weight := at.weight(&r.spec)
	for i := at.Step; i < len(r.spec.Steps); i++ {
		if r.spec.Steps[i].Weight > weight {
			return i
		}
	}
	return len(r.spec.Steps)
}

// switchedByRollout tells of the switch that a rollout has made.
func (e *Engine) switchedByRollout(r *rollout, took api.Seconds) {
	e.remember(r.previous, r.next, time.Now().UTC())
	if r.d != nil {
		r.d.switched(r.previous, r.next, nil, took, r.position().Phase == api.PhaseWatch)
		return
	}
	e.feed.publish(api.Event{Kind: api.EventSwitched, Service: r.next.Spec.Service, Release: r.next.Version, Previous: r.previous.Version, SwitchTime: took})
}

// reversion is how a release is taken back. Fields may be left out.
type reversion struct {
	reason string
	// epoch and ifMatch are those of [rolloutChange].
	epoch   *int
	ifMatch string
	// done is called when the release before serves all, with how long the switch took.
	done func(took api.Seconds)
}

// revert ends a rollout by going back to the release before.
func (e *Engine) revert(svc *service, r *rollout, how reversion) ([]*release, error) {
	outcome, reason := api.OutcomeAborted, how.reason
	return e.change(svc, r, rolloutChange{
		epoch: how.epoch, ifMatch: how.ifMatch, anyway: true,
		next: func(l lineup) lineup {
			if l.active == r.next {
				outcome = api.OutcomeReverted
			}
			l = l.settled(r.previous)
			l.ended = e.ending(r.next, reverted, outcome, reason)
			return l
		},
		done: func(took api.Seconds) {
			e.rememberOutcome(r.next, r.previous, outcome, reason)
			e.log().Warn("a release has left again", zap.String("service", svc.name), zap.Int("release", r.next.Version), zap.String("reason", reason))
			e.tellRollout(r, api.Event{Kind: api.EventReverted, Previous: r.previous.Version, Reason: reason, Rollout: r.status(e.isHeld(svc))})
			r.finish(end{how: reverted, reason: reason, previousStays: true})
			if how.done != nil {
				how.done(took)
			}
		},
	})
}

// replaceRollout ends a rollout whose place a newer deployment has taken, with the line-up now.
// The commit slot must be held.
func (e *Engine) replaceRollout(r *rollout, next *release, now *lineup) {
	reason := takenPlace(next)
	if outcome := r.replacedOutcome(); outcome != "" {
		e.rememberOutcome(r.next, now.active, outcome, reason)
	}
	r.finish(end{how: replaced, reason: reason, previousStays: slices.Contains(now.releases(), r.previous)})
}

// takenPlace is the reason why a release has left that was tried, if that is the next one.
func takenPlace(next *release) string { return fmt.Sprintf("v%d took its place", next.Version) }

// replacedOutcome returns what the history says of the release of r if another one takes its place: nothing, if it
// serves.
func (r *rollout) replacedOutcome() api.Outcome {
	if r.position().Phase == api.PhaseWatch {
		return ""
	}
	return api.OutcomeAborted
}

// pauseRollout has a rollout wait for somebody to decide.
func (e *Engine) pauseRollout(svc *service, r *rollout, epoch int, why string) error {
	_, err := e.change(svc, r, rolloutChange{
		epoch: &epoch,
		to: func(at position) position {
			at.Paused, at.Remaining = why, 0
			return at
		},
		done: func(api.Seconds) { e.waitIfUntimed(r) },
	})
	return err
}
