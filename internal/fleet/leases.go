package fleet

import (
	"cmp"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/proxy"
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
	// confirmed are those that have acknowledged the newest decision of a service that this proxy has coordinated.
	confirmed map[string]confirmation
}

// confirmation names the proxies that go by a decision.
type confirmation struct {
	revision uint64
	names    map[string]bool
}

// confirm notes that a proxy goes by the decision of a service at a revision.
func (l *leases) confirm(name, service string, revision uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.confirmed[service]
	if c.revision != revision {
		c = confirmation{revision, make(map[string]bool)}
		l.confirmed[service] = c
	}
	c.names[name] = true
}

// seenLease is a lease, what it reports, and when it has moved last.
type seenLease struct {
	Lease
	report proxy.Report
	moved  time.Time
}

func newLeases(term time.Duration) *leases {
	return &leases{term: term, all: make(map[string]seenLease), confirmed: make(map[string]confirmation)}
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
			next[c.Name] = seenLease{c, before.report, before.moved.Add(blind)}
			continue
		}
		next[c.Name] = seenLease{c, reportOf(c, before), now}
	}
	l.all = next
}

// reportOf returns what a lease reports. before is the one before it.
func reportOf(l Lease, before seenLease) (r proxy.Report) {
	if l.Report == before.Lease.Report {
		return before.report
	}
	_ = json.Unmarshal([]byte(l.Report), &r) // of another version of the program it may be anything
	return r
}

// seen returns what is known of all proxies, and adopt has it be known here, as another process has seen it.
func (l *leases) seen(now time.Time) (all []Seen) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.all {
		all = append(all, Seen{s.Lease, max(l.silence(s, now), 0)})
	}
	return all
}

func (l *leases) adopt(all []Seen, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range all {
		l.all[s.Lease.Name] = seenLease{s.Lease, reportOf(s.Lease, l.all[s.Lease.Name]), now.Add(-s.Silence)}
	}
	l.looked = now
}

// isOlder reports whether what is known here is older than d.
func (l *leases) isOlder(d time.Duration, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Sub(l.looked) > d
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

// fewProxies is how many proxies may tell at once that something is new with them. In a larger fleet, in which a change of
// one service would have each of them tell all others, it waits for the next beat.
const fewProxies = 20

// areFew reports whether there are so few proxies.
func (l *leases) areFew() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.all) <= fewProxies
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
