package proxy

import (
	"context"
	"math/rand/v2"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Upstreams returns the addresses of the healthy targets of the release that
// serves the named service and counts a request on it, until ctx ends. It is for
// hosts that forward requests themselves.
func (e *Engine) Upstreams(ctx context.Context, service string) ([]api.Target, error) {
	release, err := e.acquireNamed(service)
	if err != nil {
		return nil, err
	}
	release.Served.Add(1)
	context.AfterFunc(ctx, release.Done)
	return release.UsableTargets(), nil
}

// acquireNamed counts something on the release that serves the named service.
func (e *Engine) acquireNamed(service string) (*release, error) {
	for {
		c := e.table.Load().named[service]
		if c == nil {
			return nil, ErrNoRoute
		}
		l := c.lineup.Load()
		if l.hold != nil {
			return nil, ErrStopped // as far as whoever forwards by itself is concerned
		}
		r := l.active
		if l.candidate != nil && rand.Uint32N(uint32(api.Whole)) < uint32(l.candidate.weight) {
			r = l.candidate.release // nothing is known of the client
		}
		if r.Acquire() {
			if c.lineup.Load() == l {
				return r, nil
			}
			r.Done()
			continue
		}
		if e.life.now() == lifeRetired {
			return nil, ErrRetired
		}
	}
}
