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
	// looked is when the store was read last.
	looked time.Time
}

// seenLease is a lease, and when it has moved last.
type seenLease struct {
	Lease
	moved time.Time
}

func newLeases(term time.Duration) *leases {
	return &leases{term: term, all: make(map[string]seenLease)}
}

// blink is how long this proxy may not look at the store without it being said of the others that they
// were silent: if nobody reaches the store for a while, nobody is missing.
func (l *leases) blink() time.Duration { return l.term / 5 }

// update notes what is in the store at a moment. Those that are not there have said goodbye, or were forgotten.
func (l *leases) update(current []Lease, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	blind := max(now.Sub(l.looked)-l.blink(), 0)
	l.looked = now
	next := make(map[string]seenLease, len(current))
	for _, c := range current {
		before, known := l.all[c.Name]
		if known && before.Incarnation == c.Incarnation && before.Beats == c.Beats {
			next[c.Name] = seenLease{c, before.moved.Add(blind)}
			continue
		}
		next[c.Name] = seenLease{c, now}
	}
	l.all = next
}

// silence returns for how long a lease has not moved, as far as this proxy has looked. mu must be held.
func (l *leases) silence(s seenLease, now time.Time) time.Duration {
	return min(now.Sub(s.moved), l.looked.Add(l.blink()).Sub(s.moved))
}

// lives reports whether a lease has moved within its term. mu must be held.
func (l *leases) lives(s seenLease, now time.Time) bool { return l.silence(s, now) < l.term }

// others returns the names of the other proxies: those whose leases live, and those that are missed, with
// how long they have not been heard of.
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
			missing[name] = l.silence(s, now)
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
			m.State, m.Unheard = api.FleetGone, api.Seconds(l.silence(s, now))
		case ready:
			m.State = api.FleetLive
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b api.FleetMember) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
