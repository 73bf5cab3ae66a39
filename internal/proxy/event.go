package proxy

import (
	"context"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// maxEvents bounds the events that a deployment remembers: behind it, failing
// probes, and the progress of a drain or a watch, which can go on for hours, are left out.
const maxEvents = 1000

// Events calls yield with every event of the deployment, those of the past
// first, until the last, until yield returns an error, or until ctx ends.
func (d *Deployment) Events(ctx context.Context, yield func(api.Event) error) error {
	for next := 0; ; {
		d.mu.Lock()
		pending, more := d.events[next:], d.more
		d.mu.Unlock()
		for _, ev := range pending {
			if err := yield(ev); err != nil {
				return err
			}
			if ev.Kind == api.EventEnded {
				return nil
			}
		}
		next += len(pending)
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// send adds an event. Events are only ever appended, so that a slice of them can
// be read without the lock.
func (d *Deployment) send(ev api.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sendLocked(ev)
}

func (d *Deployment) sendLocked(ev api.Event) {
	if len(d.events) >= maxEvents && (ev.Kind == api.EventProbeFailed || ev.Kind == api.EventDraining || ev.Kind == api.EventJudged) {
		return
	}
	ev.Time, ev.Deployment, ev.Service = time.Now().UTC(), d.id, d.spec.Service
	d.events = append(d.events, ev)
	if d.publish != nil {
		d.publish(ev)
	}
	close(d.more)
	d.more = make(chan struct{})
}
