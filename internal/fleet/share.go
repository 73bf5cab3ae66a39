package fleet

import (
	"context"
	"slices"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// shareTimeout bounds how long the store is asked what the others have told. If it does not answer, what was told before has to do.
const shareTimeout = time.Second

// Shares returns what tells how many proxies of the fleet go by what was decided last about a service, as they have
// told.
func (a *Agent) Shares(ctx context.Context) func(service string) *api.FleetShare {
	a.mu.Lock()
	isReached := a.problem == nil
	a.mu.Unlock()
	if isReached && a.leases.isOlder(a.opts.Poll, time.Now()) {
		ctx, cancel := context.WithTimeout(ctx, shareTimeout)
		defer cancel()
		_ = a.readLeases(ctx)
	}
	a.mu.Lock()
	decided := make(map[string]uint64, len(a.seen.Decisions))
	for _, d := range a.seen.Decisions {
		decided[d.Service] = d.Revision
	}
	a.mu.Unlock()
	now := time.Now()
	return func(service string) *api.FleetShare {
		own := a.proxy.Revision(service)
		return a.leases.share(a.opts.Name, service, own, max(own, decided[service]), now)
	}
}

// share returns how many proxies go by the decision of a service at a revision. own is the one that this proxy goes
// by.
func (l *leases) share(self, service string, own, revision uint64, now time.Time) *api.FleetShare {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &api.FleetShare{Of: 1}
	if own >= revision {
		s.Serving = 1
	} else {
		s.Lacking = append(s.Lacking, self)
	}
	c := l.confirmed[service]
	for name, other := range l.all {
		if name == self {
			continue
		}
		s.Of++
		if l.lives(other, now) && (isPast(&other.report, service, revision) || c.revision == revision && c.names[name]) {
			s.Serving++
		} else {
			s.Lacking = append(s.Lacking, name)
		}
	}
	slices.Sort(s.Lacking)
	return s
}
