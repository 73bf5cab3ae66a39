package proxy

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
)

const (
	// fitTimeout bounds the question whether a release can serve again.
	fitTimeout = 5 * time.Second
	// askPause is the pause before a release, or the check, is asked again.
	askPause = 10 * time.Second
	// storePause is how often it is stored what is left of the time of a rollout, in case that
	// the proxy is killed.
	storePause = time.Minute
)

// runRollout moves a rollout on, until it has ended or the engine stops.
func (e *Engine) runRollout(svc *service, r *rollout) {
	if r.restored && r.position().Phase == api.PhaseWatch {
		e.checkWayBack(svc, r)
	}
	r.judge()
	e.tellRollout(r, api.Event{Kind: api.EventRollout, Rollout: r.status(false)})
	e.waitIfUntimed(r)
	tick := time.NewTicker(r.interval())
	defer tick.Stop()
	last, stored, told := time.Now(), time.Now(), time.Now()
	for {
		select {
		case <-r.ended:
			return
		case <-e.stopped:
			e.interruptRollout(svc, r)
			return
		case <-tick.C:
		}
		now := time.Now()
		e.moveOn(svc, r, now.Sub(last))
		last = now
		if now.Sub(told) > r.tellPause() && !r.isOver() {
			told = now
			e.tellRollout(r, api.Event{Kind: api.EventJudged, Rollout: r.status(e.isHeld(svc))})
		}
		if now.Sub(stored) > storePause {
			stored = now
			e.storeRollout(svc, r)
		}
	}
}

// tellPause is the pause between two reports of the evidence.
func (r *rollout) tellPause() time.Duration {
	return max(time.Second, time.Duration(r.position().Remaining)/100)
}

// tellRollout tells of a rollout whoever waits for its deployment, or after a restart, those
// who follow all.
func (e *Engine) tellRollout(r *rollout, ev api.Event) {
	if ev.Release = r.next.Version; r.d != nil {
		r.d.tellRollout(ev)
		return
	}
	ev.Service = r.next.Spec.Service
	e.feed.publish(ev)
}

// waitIfUntimed tells that r waits for somebody to decide, if it does not end by itself.
func (e *Engine) waitIfUntimed(r *rollout) {
	at := r.position()
	if at.Timed && (at.Paused == "" || at.ByHand) {
		return
	}
	r.decideLater()
	e.tellRollout(r, api.Event{Kind: api.EventUndecided, Rollout: r.status(false), Reason: at.Paused})
}

// moveOn has time go on for a rollout, and does what is due.
func (e *Engine) moveOn(svc *service, r *rollout, elapsed time.Duration) {
	var err error
	switch r.advance(elapsed, e.isHeld(svc)) {
	case goOn:
		switch phase := r.position().Phase; {
		case phase == api.PhaseSlowStart:
			e.shiftWeight(svc, r)
		case r.spec.CheckURL != "" && r.mayAsk(&r.checkAgain):
			if reason, verdict := e.askCheck(r); verdict == fails {
				err = e.giveUp(svc, r, reason)
			}
		}
	case fails:
		err = e.giveUp(svc, r, r.whyBad())
	case timeOver:
		err = e.stepOver(svc, r)
	}
	if err != nil && !r.isOver() {
		e.log().Warn("a rollout could not go on; it is tried again", zap.String("service", svc.name), zap.Error(err))
	}
}

// mayAsk reports whether it is time to ask somebody again, and notes that it happens.
func (r *rollout) mayAsk(again *time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().Before(*again) {
		return false
	}
	*again = time.Now().Add(askPause)
	return true
}

// giveUp goes back to the release before, for a reason. A watch does so only if that one can
// serve: what makes both fail, such as a database that is down, is no reason to go back.
func (e *Engine) giveUp(svc *service, r *rollout, reason string) error {
	if r.position().Phase == api.PhaseWatch {
		if !r.mayAsk(&r.probeAgain) {
			return e.pauseIfOver(svc, r)
		}
		if why := e.unfit(r.previous); why != "" {
			why = fmt.Sprintf("%s; v%d cannot take over: %s", reason, r.previous.Version, why)
			r.mu.Lock()
			first := r.noWayBack == ""
			r.noWayBack = why
			r.mu.Unlock()
			if first {
				e.log().Warn("a release fails, and the one before it as well", zap.String("service", svc.name), zap.String("reason", why))
			}
			return e.pauseIfOver(svc, r)
		}
	}
	_, err := e.revert(svc, r, reason)
	return err
}

// pauseIfOver has a watch wait for somebody to decide whose time is over and that cannot go
// back.
func (e *Engine) pauseIfOver(svc *service, r *rollout) error {
	r.mu.Lock()
	over, why := r.at.Timed && r.at.Remaining == 0, r.noWayBack
	r.mu.Unlock()
	if !over {
		return nil
	}
	return e.pauseRollout(svc, r, why)
}

// unfit returns why a release could not serve: a target of it does not pass the health check,
// or a page is not there that has to be. It is empty if it could.
func (e *Engine) unfit(release *release) string {
	ctx, cancel := context.WithTimeout(context.Background(), fitTimeout)
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

// stepOver does what is due when a step or a watch has ended by its time.
func (e *Engine) stepOver(svc *service, r *rollout) error {
	at := r.position()
	trusted, why := r.enough(), fmt.Sprintf("v%d had fewer than the %d requests that it takes to judge it", r.next.Version, r.spec.MinRequests)
	if r.spec.CheckURL != "" && at.Phase != api.PhaseSlowStart {
		switch reason, v := e.askCheck(r); v {
		case fails:
			return e.giveUp(svc, r, reason)
		case timeOver: // it does not know
			trusted, why = false, reason
		}
	}
	action := r.spec.OnInconclusive
	switch {
	case trusted:
		action = api.InconclusivePromote
	case action == "" && at.Phase == api.PhaseWatch:
		action = api.InconclusivePromote // nobody came, so nobody has suffered
	case action == "":
		action = api.InconclusivePause
	}
	switch action {
	case api.InconclusiveAbort:
		return e.giveUp(svc, r, why)
	case api.InconclusivePromote:
		reason := ""
		if !trusted {
			reason = why
		}
		_, err := e.promote(svc, r, false, reason)
		return err
	}
	return e.pauseRollout(svc, r, why)
}

// askCheck asks the check of a rollout whether its release is fine. It returns fails if it is
// not, timeOver if that is not known, each with the reason, and otherwise goOn.
func (e *Engine) askCheck(r *rollout) (string, verdict) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	url := r.spec.CheckURL
	answer, err := e.askURL(ctx, url, r.status(false))
	switch {
	case err != nil:
		return fmt.Sprintf("%s cannot be asked: %s", api.Printable(url), api.Printable(err.Error())), timeOver
	case answer.status >= http.StatusInternalServerError:
		return fmt.Sprintf("%s says that v%d is bad: %s", api.Printable(url), r.next.Version, api.Printable(answer.why())), fails
	case answer.status >= 200 && answer.status <= 299:
		return "", goOn
	}
	return fmt.Sprintf("%s does not know whether v%d is fine: %s", api.Printable(url), r.next.Version, api.Printable(answer.why())), timeOver
}

// checkWayBack ends a watch that goes on after a restart, if the release before is gone.
func (e *Engine) checkWayBack(svc *service, r *rollout) {
	if why := e.unfit(r.previous); why != "" {
		reason := fmt.Sprintf("there is no way back to v%d: %s", r.previous.Version, why)
		e.log().Warn("a watch ends, because the release before is gone", zap.String("service", svc.name), zap.String("reason", reason))
		if _, err := e.promote(svc, r, true, reason); err != nil {
			e.log().Warn("a watch could not be ended", zap.String("service", svc.name), zap.Error(err))
		}
	}
}

// interruptRollout stores what is left of the time of a rollout, for the next start.
func (e *Engine) interruptRollout(svc *service, r *rollout) {
	e.storeRollout(svc, r)
	r.finish(interrupted, "")
}

// isHeld reports whether a service is paused or stopped.
func (e *Engine) isHeld(svc *service) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return svc.hold() != nil
}
