package fleet

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// leases are those of all proxies as this one sees them.
type leases struct {
	// term is how long a lease lives whose count does not move.
	term time.Duration

	// mu guards what follows.
	mu  sync.Mutex
	all map[string]seenLease
}

// seenLease is a lease, and when it has moved last.
type seenLease struct {
	Lease
	moved time.Time
}

func newLeases(term time.Duration) *leases {
	return &leases{term: term, all: make(map[string]seenLease)}
}

// saw notes what is in the backend at a moment. Those that are not there have said goodbye.
func (l *leases) saw(current []Lease, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := make(map[string]seenLease, len(current))
	for _, c := range current {
		before, known := l.all[c.Name]
		if known && before.Incarnation == c.Incarnation && before.Beats == c.Beats {
			next[c.Name] = seenLease{c, before.moved}
			continue
		}
		next[c.Name] = seenLease{c, now}
	}
	l.all = next
}

// lives reports whether a lease has moved within its term.
func (l *leases) lives(s seenLease, now time.Time) bool { return now.Sub(s.moved) < l.term }

// others returns the names of the other proxies: those whose leases live, and for how long those
// have been over that are missed.
func (l *leases) others(self string, now time.Time) (live []string, missing map[string]time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	missing = make(map[string]time.Duration)
	for name, s := range l.all {
		switch {
		case name == self:
		case l.lives(s, now):
			live = append(live, name)
		default:
			missing[name] = now.Sub(s.moved)
		}
	}
	slices.Sort(live)
	return live, missing
}

// members describes all proxies, by name.
func (l *leases) members(self Lease, now time.Time) []api.FleetMember {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []api.FleetMember
	for name, s := range l.all {
		m := api.FleetMember{Name: name, State: api.FleetJoining, Version: s.Version}
		ready := s.Ready
		if name == self.Name {
			ready = self.Ready
		}
		switch {
		case name != self.Name && !l.lives(s, now):
			m.State, m.Unheard = api.FleetGone, api.Seconds(now.Sub(s.moved))
		case ready:
			m.State = api.FleetLive
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b api.FleetMember) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
