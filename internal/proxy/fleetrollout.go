package proxy

import (
	"slices"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// drives reports whether this proxy has the rollouts of a service go on: it is alone, or the one of its fleet that does.
func (e *Engine) drives(service string) bool { return e.fleet == nil || e.fleet.Drives(service) }

// ending returns how a release has ended that was tried, for the other proxies; nil without a fleet.
func (e *Engine) ending(r *release, how endKind, outcome api.Outcome, reason string) *ending {
	if e.fleet == nil {
		return nil
	}
	return &ending{Release: r.Version, How: how, Outcome: outcome, Reason: reason}
}

// trial returns what this process knows of r by which it is judged; nil if it is not judged.
func (r *rollout) trial() *Trial {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isOver() || r.evidence.next == nil {
		return nil
	}
	t := &Trial{Release: r.next.Version, Phase: r.evidence.phase, Era: r.era, Counted: r.evidence.own(), NoWayBack: r.noWayBack}
	for id, c := range r.others {
		if !r.alive[id] {
			if t.Gone == nil {
				t.Gone = make(map[string]Counted)
			}
			t.Gone[id] = c
		}
	}
	return t
}

// hear adds what the other proxies have counted to what next is judged by. self is the id of this process. What a
// process has counted that is gone stays.
func (r *rollout) hear(self string, others []Told) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isOver() || r.evidence.next == nil {
		return
	}
	trials := make(map[string]*Trial)
	r.alive = make(map[string]bool)
	era := r.era
	for i := range others {
		r.alive[others[i].ID] = true
		t := others[i].Service(r.next.Spec.Service).Trial
		if t != nil && t.Release == r.next.Version && t.Phase == r.evidence.phase {
			trials[others[i].ID] = t
			era = max(era, t.Era)
		}
	}
	if era > r.era {
		r.era = era
		r.judgeAnew()
	}
	r.theirNoWayBack = ""
	for id, t := range trials {
		if t.Era != r.era {
			continue
		}
		r.count(id, t.Counted)
		if t.NoWayBack != "" {
			r.theirNoWayBack = t.NoWayBack
		}
		for gone, c := range t.Gone {
			if _, known := r.others[gone]; !known && gone != self && !r.alive[gone] {
				r.count(gone, c)
			}
		}
	}
	r.evidence.others = Counted{}
	for _, c := range r.others {
		r.evidence.others.add(c)
	}
}

// count notes what another process has counted. Whether that was before the step that r is in, a process does not know
// that has been started in this step: then it is no request that the step has had. r.mu must be held.
func (r *rollout) count(id string, c Counted) {
	if _, known := r.others[id]; !known && r.restored && r.epoch == 0 {
		r.stepRequests += c.Next.Requests
	}
	r.others[id] = c
}

// lookBack notes what the release before had in its last hour here.
func (e *Engine) lookBack(r *rollout) {
	if !r.shared {
		return
	}
	e.mu.Lock()
	requests, failures := r.previous.lastHour()
	e.mu.Unlock()
	r.mu.Lock()
	r.hour = count{requests, failures}
	r.mu.Unlock()
}

// setFollowed says whether another proxy decides about r, and tells of it.
func (r *rollout) setFollowed(followed bool) {
	r.followed.Store(followed)
	if r.d != nil {
		r.d.followed.Store(followed)
	}
}

// goesOnAs has a line-up that was decided have the rollout of the one before, if that is the same, and returns where
// the fleet has it stand.
func (l *lineup) goesOnAs(before *lineup) (at position) {
	if l.rollout == nil {
		return at
	}
	at = l.rollout.position()
	if before != nil && before.rollout != nil && before.rollout.next == l.rollout.next && before.rollout.previous == l.rollout.previous && !before.rollout.isOver() {
		l.rollout = before.rollout
	}
	return at
}

// followRollout does for the rollouts of a service what follows from a decision of the fleet that another proxy has
// made: it has the service be now, in place of before, of which either may be nil, and its rollout stand at a
// position. The commit slot must be held.
func (e *Engine) followRollout(svc *service, before, now *lineup, at position, took api.Seconds) {
	var r *rollout
	if before != nil {
		r = before.rollout
	}
	if r != nil && !r.isOver() {
		r.setFollowed(true)
		if r.d != nil && before.active != r.next && now != nil && now.active == r.next {
			r.d.switched(r.previous, r.next, nil, took, now.standby == r.previous)
		}
		if now != nil && now.rollout == r {
			e.followPosition(svc, r, at)
		} else {
			e.endShared(r, now)
		}
	}
	if now != nil && now.rollout != nil && now.rollout != r {
		now.rollout.setFollowed(true)
		e.mu.Lock()
		running := e.life.now() == lifeRunning && !e.following
		e.mu.Unlock()
		if running { // if it has not started, Start does it
			e.operations.Go(func() { e.runRollout(svc, now.rollout) })
		}
	}
}

// followPosition has a rollout stand where another proxy has decided.
func (e *Engine) followPosition(svc *service, r *rollout, at position) {
	from, moved := r.adopt(at)
	if !moved {
		return
	}
	if from.Phase != at.Phase {
		e.lookBack(r)
		r.judge()
	}
	e.tellPosition(svc, r)
	e.waitIfUntimed(r)
}

// endShared ends a rollout as another proxy has decided. now is what the service is then; nil if it is removed.
func (e *Engine) endShared(r *rollout, now *lineup) {
	how := end{how: replaced, reason: "another proxy has changed the service", previousStays: slices.Contains(now.releases(), r.previous)}
	switch {
	case now == nil:
		how.how, how.reason = removed, "the service was removed"
	case now.ended != nil && now.ended.Release == r.next.Version:
		how.how, how.reason = now.ended.How, now.ended.Reason
	case now.active == r.next: // this proxy has not heard of all decisions
		how.how = promoted
	case now.active == r.previous:
		how.how = reverted
	}
	switch how.how {
	case promoted:
		if now.standby == r.previous && r.d != nil {
			r.d.kept(r.previous)
		}
		e.tellRollout(r, api.Event{Kind: api.EventPromoted, Reason: how.reason})
	case reverted:
		e.tellRollout(r, api.Event{Kind: api.EventReverted, Previous: r.previous.Version, Reason: how.reason, Rollout: r.status(false)})
	}
	r.finish(how)
}

// rememberFollowed adds to the history what follows from a decision of another proxy, by which a service is now, in
// place of before, which may be nil. The commit slot must be held.
func (e *Engine) rememberFollowed(before, now *lineup) {
	var served *release
	if before != nil {
		served = before.active
	}
	if ended := now.ended; ended != nil && ended.Outcome != "" {
		for _, r := range before.without(now) {
			if r.Version == ended.Release {
				e.rememberOutcome(r, now.active, ended.Outcome, ended.Reason)
				if r == served {
					return
				}
			}
		}
	}
	if now.active != served {
		e.remember(served, now.active, time.Now().UTC())
	}
}

// awaitLeft waits until releases that have left a service have drained: here, and on every other proxy of a fleet. The
// cuts and the error are about those.
func (e *Engine) awaitLeft(svc *service, left []*release) (drains []api.Drain, cuts []api.FleetStep, err error) {
	for _, r := range left {
		<-r.drain.over
		drains = append(drains, r.drain.result)
	}
	if len(left) > 0 {
		cuts, err = e.awaitOthers(svc, left[0].Spec.Options.Drain())
	}
	return drains, cutsOf(drains, cuts), err
}

// cutsOf returns those of the cuts of other proxies that are of releases which have drained here, too.
func cutsOf(drains []api.Drain, cuts []api.FleetStep) []api.FleetStep {
	return slices.DeleteFunc(cuts, func(s api.FleetStep) bool {
		isOf := func(d api.Drain) bool { return d.Service == "" && d.Release == s.Drain.Release }
		return s.Drain.Release != 0 && !slices.ContainsFunc(drains, isOf)
	})
}

// awaitOthers waits until no other proxy of a fleet holds anything of releases that have left a service. It returns what they
// had to cut lately.
func (e *Engine) awaitOthers(svc *service, limits api.DrainLimits) (cuts []api.FleetStep, err error) {
	if e.fleet == nil {
		return nil, nil
	}
	ctx, cancel := e.untilStopped()
	defer cancel()
	e.mu.Lock()
	revision := e.revisions[svc.name]
	e.mu.Unlock()
	return e.fleet.AwaitDrained(ctx, svc.name, revision, limits)
}
