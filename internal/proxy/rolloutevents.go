package proxy

import "github.com/parachute-proxy/parachute/internal/api"

// tellRollout tells of a rollout whoever waits for its deployment, or after a restart, those
// who follow all.
func (e *Engine) tellRollout(r *rollout, ev api.Event) {
	ev.Followed = r.followed.Load()
	if ev.Release = r.next.Version; r.d != nil {
		r.d.tellRollout(ev)
		return
	}
	ev.Service = r.next.Spec.Service
	e.feed.publish(ev)
}

// tellPosition tells where a rollout stands.
func (e *Engine) tellPosition(svc *service, r *rollout) {
	e.tellRollout(r, api.Event{Kind: api.EventRollout, Rollout: r.status(e.isHeld(svc))})
}

// waitIfUntimed tells that r waits for somebody to decide, if it does not end by itself.
func (e *Engine) waitIfUntimed(r *rollout) {
	at := r.position()
	if !at.waits() {
		return
	}
	r.tellUndecided()
	e.tellRollout(r, api.Event{Kind: api.EventUndecided, Rollout: r.status(false), Reason: at.Paused})
}

// tellDrained tells of a release that has left the line-up because of a rollout.
func (e *Engine) tellDrained(r *rollout, d api.Drain) {
	if r.d != nil {
		r.d.drained(d)
		return
	}
	e.publishDrained(r.next.Spec.Service, d)
}

// publishDrained tells those who follow all of a drain that belongs to no deployment.
func (e *Engine) publishDrained(service string, d api.Drain) {
	e.feed.publish(drainedEvent(service, d))
}

func drainedEvent(service string, d api.Drain) api.Event {
	return api.Event{Kind: api.EventDrained, Service: service, Release: d.Release, Targets: d.Targets, Drain: &d}
}
