package proxy

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
)

const (
	// fitTimeout bounds the question whether a release can serve again, and bootTimeout that
	// after a start of the proxy, with which applications may start as well.
	fitTimeout  = 5 * time.Second
	bootTimeout = 30 * time.Second
	// storePause is how often it is stored what is left of the time of a rollout, in case that
	// the proxy is killed.
	storePause = time.Minute
)

// runRollouts moves the rollouts of all services on.
func (e *Engine) runRollouts() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, svc := range e.services {
		l := svc.lineup()
		if l == nil || l.rollout == nil {
			continue
		}
		if l.rollout.isOver() { // another process had it go on, up to here
			next := *l
			next.rollout = l.rollout.again()
			svc.active.lineup.Store(&next)
			l = &next
		}
		e.operations.Go(func() { e.runRollout(svc, l.rollout) })
	}
}

// runRollout moves a rollout on, until it has ended or the engine stops. It does nothing if that is done already.
func (e *Engine) runRollout(svc *service, r *rollout) {
	if !r.running.CompareAndSwap(false, true) {
		return
	}
	defer r.running.Store(false)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-e.stopped:
		case <-r.ended:
		case <-ctx.Done():
		}
		cancel()
	}()
	e.lookBack(r)
	r.judge()
	if r.restored && r.position().Phase == api.PhaseWatch && e.fleet == nil { // in a fleet, others have gone on
		e.operations.Go(func() { e.checkWayBack(ctx, svc, r) })
	}
	e.tellRollout(r, api.Event{Kind: api.EventRollout, Rollout: r.status(false)})
	e.waitIfUntimed(r)
	tick := time.NewTicker(r.interval())
	defer tick.Stop()
	last, stored, told := time.Now(), time.Now(), time.Now()
	for {
		var err error
		select {
		case <-r.ended:
			return
		case <-e.stopped:
			e.interruptRollout(svc, r)
			return
		case c := <-r.checks:
			err = e.heedCheck(ctx, svc, r, c)
		case <-tick.C:
			now := time.Now()
			err = e.moveOn(ctx, svc, r, now.Sub(last))
			last = now
		}
		if err != nil && !overtaken(err) && r.mayAsk(&r.warnAgain, e.askPause) {
			e.log().Warn("a rollout could not go on; it is tried again", zap.String("service", svc.name), zap.Error(err))
		}
		if now := time.Now(); now.Sub(told) > r.tellPause() && !r.isOver() {
			told = now
			e.tellRollout(r, api.Event{Kind: api.EventJudged, Rollout: r.status(e.isHeld(svc))})
		}
		if now := time.Now(); now.Sub(stored) > storePause && r.runs() && !e.isHeld(svc) {
			stored = now
			e.storeRollout(svc, r)
		}
	}
}

// tellPause is the pause between two reports of the evidence.
func (r *rollout) tellPause() time.Duration {
	return max(time.Second, time.Duration(r.position().Remaining)/100)
}

// runs reports whether the clock of r runs.
func (r *rollout) runs() bool {
	at := r.position()
	return at.Timed && at.Paused == "" && at.Remaining > 0
}

// moveOn has time go on for a rollout, and does what is due.
func (e *Engine) moveOn(ctx context.Context, svc *service, r *rollout, elapsed time.Duration) error {
	drives := e.drives(svc.name)
	if e.fleet != nil {
		r.setFollowed(!drives)
		r.hear(e.fleet.Reports())
	}
	j := r.advance(elapsed, e.isHeld(svc))
	if !drives {
		if r.position().Phase == api.PhaseSlowStart {
			e.shiftWeight(svc, r)
		}
		return nil // the fleet decides what one of its proxies proposes, and this one follows
	}
	asks := r.spec.CheckURL != "" && r.position().Phase != api.PhaseSlowStart
	switch {
	case j.verdict == fails:
		return e.giveUp(ctx, svc, r, j)
	case j.verdict == timeOver && asks:
		e.startCheck(ctx, r, j)
	case j.verdict == timeOver:
		return e.stepOver(ctx, svc, r, j, checked{})
	case asks && r.mayAsk(&r.checkAgain, e.askPause):
		e.startCheck(ctx, r, j)
	case r.position().Phase == api.PhaseSlowStart:
		e.shiftWeight(svc, r)
	}
	return nil
}

// heedCheck does what follows from an answer of the check.
func (e *Engine) heedCheck(ctx context.Context, svc *service, r *rollout, c checked) error {
	switch {
	case c.epoch != r.currentEpoch():
		return nil
	case c.opinion == badOpinion:
		return e.giveUp(ctx, svc, r, judgement{reason: c.reason, epoch: c.epoch})
	case c.verdict == timeOver:
		return e.stepOver(ctx, svc, r, c.judgement, c)
	}
	return nil
}

// mayAsk reports whether it is time for something again, and notes that it happens: the next
// time is after a pause.
func (r *rollout) mayAsk(again *time.Time, pause time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().Before(*again) {
		return false
	}
	*again = time.Now().Add(pause)
	return true
}

// giveUp goes back to the release before. A watch does so only if that one can serve: what
// makes both fail, such as a database that is down, is no reason to go back, and neither is
// what has happened meanwhile.
func (e *Engine) giveUp(ctx context.Context, svc *service, r *rollout, j judgement) error {
	if r.position().Phase == api.PhaseWatch {
		if !r.mayAsk(&r.probeAgain, e.askPause) {
			return e.pauseIfOver(svc, r, j)
		}
		why := e.unfit(ctx, r.previous, fitTimeout)
		if ctx.Err() != nil {
			return nil
		}
		if first, outage := r.noteOutage(why, j.reason, e.askPause); outage {
			if first {
				e.log().Warn("a release fails, and the one before it as well", zap.String("service", svc.name), zap.String("reason", j.reason), zap.String("before", why))
			}
			return e.pauseIfOver(svc, r, j)
		}
	}
	_, err := e.revert(svc, r, reversion{reason: j.reason, epoch: &j.epoch})
	return err
}

// noteOutage reports whether next fails for what makes previous fail as well, which does for
// the reason why, or did when it was asked last. Then next is judged anew, and previous is not asked again before a pause.
// first says that it is news.
func (r *rollout) noteOutage(why, reason string, pause time.Duration) (first, outage bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.noWayBack
	if r.noWayBack = ""; why != "" {
		r.noWayBack = fmt.Sprintf("%s; v%d cannot take over: %s", reason, r.previous.Version, why)
	}
	if before == "" && why == "" || r.isOver() {
		return false, false
	}
	r.era++
	r.judgeAnew()
	r.probeAgain = time.Now().Add(pause) // until then, next is not taken for better because nothing has failed yet: see advance
	return before == "", true
}

// pauseIfOver has a watch wait for somebody to decide whose time is over and that cannot go
// back.
func (e *Engine) pauseIfOver(svc *service, r *rollout, j judgement) error {
	r.mu.Lock()
	over, why := r.at.Timed && r.at.Remaining == 0, r.noWayBack
	r.mu.Unlock()
	if !over {
		return nil
	}
	if why == "" {
		why = j.reason
	}
	return e.pauseRollout(svc, r, j.epoch, why)
}

// unfit returns why a release could not serve: no target of it passes the health check, or a
// page is not there that has to be. It is empty if it could.
func (e *Engine) unfit(ctx context.Context, release *release, timeout time.Duration) string {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var reason string
	for _, report := range release.UntilHealthy(ctx, func(api.ProbeReport) {}, func(string, string, bool) {}) {
		if report.Healthy {
			reason = ""
			break
		}
		reason = report.Target + " is not healthy"
		if n := len(report.Failures); n > 0 {
			reason = report.Target + ": " + report.Failures[n-1].Reason
		}
	}
	if smoke := release.Spec.Options.Smoke; reason == "" && len(smoke) > 0 {
		for _, v := range release.Visit(ctx, smoke, 1, false) {
			if !v.OK() {
				return v.Target + ": " + v.String()
			}
		}
	}
	return reason
}

// stepOver does what is due when a step or a watch has ended by its time. c is what the check
// has answered, if there is one.
func (e *Engine) stepOver(ctx context.Context, svc *service, r *rollout, j judgement, c checked) error {
	at := r.position()
	trusted, suspicious, why := r.enough()
	if c.opinion == noOpinion {
		trusted, why = false, c.reason
	}
	r.mu.Lock()
	outage := r.noWayBack
	r.mu.Unlock()
	if outage != "" {
		return e.pauseRollout(svc, r, j.epoch, outage)
	}
	action := r.spec.OnInconclusive
	switch {
	case trusted:
		action = api.InconclusivePromote
	case action == "" && at.Phase == api.PhaseWatch && !suspicious:
		action = api.InconclusivePromote // hardly anybody came, so hardly anybody has suffered
	case action == "":
		action = api.InconclusivePause
	}
	switch action {
	case api.InconclusiveAbort:
		return e.giveUp(ctx, svc, r, judgement{reason: why, epoch: j.epoch})
	case api.InconclusivePromote:
		if trusted {
			why = ""
		}
		_, err := e.promote(svc, r, promotion{reason: why, epoch: &j.epoch})
		return err
	}
	return e.pauseRollout(svc, r, j.epoch, why)
}

// checkWayBack ends a watch that goes on after a restart, if the release before is gone.
func (e *Engine) checkWayBack(ctx context.Context, svc *service, r *rollout) {
	epoch := r.currentEpoch()
	why := e.unfit(ctx, r.previous, bootTimeout)
	if why == "" || ctx.Err() != nil || r.position().Paused != "" {
		return
	}
	reason := fmt.Sprintf("there is no way back to v%d: %s", r.previous.Version, why)
	e.log().Warn("a watch ends, because the release before is gone", zap.String("service", svc.name), zap.String("reason", reason))
	_, err := e.promote(svc, r, promotion{full: true, gone: true, reason: reason, epoch: &epoch})
	if err != nil && !overtaken(err) {
		e.log().Warn("a watch could not be ended", zap.String("service", svc.name), zap.Error(err))
	}
}

// interruptRollout stores what is left of the time of a rollout, for the next start.
func (e *Engine) interruptRollout(svc *service, r *rollout) {
	svc.committing <- struct{}{}
	defer func() { <-svc.committing }()
	e.storePosition(svc, r)
	r.finish(end{how: interrupted})
}

// storeRollout stores what is left of the time of a rollout.
func (e *Engine) storeRollout(svc *service, r *rollout) {
	svc.committing <- struct{}{}
	defer func() { <-svc.committing }()
	e.storePosition(svc, r)
}

// storePosition is storeRollout, with the commit slot held.
func (e *Engine) storePosition(svc *service, r *rollout) {
	e.mu.Lock()
	l := svc.lineup()
	e.mu.Unlock()
	if l == nil || l.rollout != r || r.isOver() {
		return
	}
	if err := e.save(svc, l); err != nil {
		e.log().Warn("it could not be stored how much is left of a rollout", zap.String("service", svc.name), zap.Error(err))
	}
}
