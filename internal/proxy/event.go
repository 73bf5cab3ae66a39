package proxy

import (
	"context"
	"strconv"
	"strings"

	"github.com/parachute-proxy/parachute/internal/api"
)

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

// Announce tells those who follow the events of the proxy of one that is of no service.
func (e *Engine) Announce(ev api.Event) { e.feed.publish(ev) }

// Feed returns a reader of what happens to services from now on, or after the event with an
// id, or with [api.FeedStart] of all that is remembered. It returns an [api.Error] with
// [api.CodeInvalid] for what is no id.
func (e *Engine) Feed(after string) (*FeedReader, error) {
	f := e.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &FeedReader{feed: f, next: f.next, stopped: e.stopped}
	switch after {
	case "":
		return r, nil
	case api.FeedStart:
		r.next = f.oldest()
		return r, nil
	}
	instance, text, ok := strings.Cut(after, "-")
	n, err := strconv.ParseUint(text, 10, 64)
	if !ok || err != nil {
		return nil, api.Invalid("%.64q is not the id of an event", after)
	}
	r.next = n + 1
	if instance != f.instance || n >= f.next {
		// It is of a proxy before this one: what came after it there is forgotten.
		r.next, r.missed = f.oldest(), true
	}
	return r, nil
}
