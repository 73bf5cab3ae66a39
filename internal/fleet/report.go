package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

// report is what this proxy tells the others of itself, with its lease.
type report struct{ proxy.Report }

func (r report) text() string {
	content, err := json.Marshal(r.Report)
	if err != nil {
		panic(err) // there is nothing in it that JSON has not
	}
	return string(content)
}

// state returns the text without what changes all the time.
func (r report) state() string { return report{r.State()}.text() }

// reportsPerLease bounds how often a proxy writes within the term of a lease what it has counted.
const reportsPerLease = 5

// progress is how far a proxy is with what was decided.
type progress struct {
	// applied is the newest revision of all decisions, behind are the services whose decisions the proxy does not go by
	// yet.
	applied uint64
	behind  []string
}

// maxBehind bounds the services that a proxy names which does not go by their decisions yet: with more, it says that it
// goes by none.
const maxBehind = 100

// tellProgress has the others know that this proxy has applied a decision. If they cannot be reached, a round tells it.
func (a *Agent) tellProgress() {
	a.mu.Lock()
	seen := a.seen
	a.mu.Unlock()
	a.note(seen)
	_, _ = a.beat()
}

// note notes how far this proxy is with the decisions of a state.
func (a *Agent) note(state State) {
	var p progress
	for _, d := range state.Decisions {
		p.applied = max(p.applied, d.Revision)
		if a.proxy.Revision(d.Service) < d.Revision {
			p.behind = append(p.behind, d.Service)
		}
	}
	// Of decisions up to a later one, some may be missing, and nobody would know that the proxy does not go by them.
	p.applied = min(p.applied, state.Revision)
	if len(p.behind) > maxBehind {
		p = progress{}
	}
	slices.Sort(p.behind)
	a.mu.Lock()
	a.seen, a.progress = state, p
	a.mu.Unlock()
}

// report returns what this proxy tells of itself. What it tells of its services is not older than how far it says
// that it is.
func (a *Agent) report() report {
	a.mu.Lock()
	p, follows := a.progress, a.problem == nil && !a.left
	a.mu.Unlock()
	r := report{a.proxy.FleetReport()}
	r.Applied, r.Behind, r.Follows = p.applied, p.behind, follows
	return r
}

// isPast reports whether a proxy goes by what was decided about a service at a revision.
func isPast(r *proxy.Report, service string, revision uint64) bool {
	return r.Applied >= revision && !slices.Contains(r.Behind, service)
}

// isPast reports whether a proxy has told that it goes by what was decided about a service at a revision.
func (l *leases) isPast(name, service string, revision uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, isThere := l.all[name]
	return isThere && isPast(&s.report, service, revision)
}

// AwaitDrained implements [proxy.Fleet].
func (a *Agent) AwaitDrained(ctx context.Context, service string, revision uint64, limits api.DrainLimits) ([]api.FleetStep, error) {
	ctx, cancel := context.WithTimeout(ctx, limits.Requests+limits.Streams+a.opts.Finish)
	defer cancel()
	answered := time.Now()
	var lacks []string
	for looked := false; ; {
		err := a.readLeases(ctx)
		if err == nil && !looked {
			// Another process of this proxy may have taken over, and decided since.
			var state State
			if state, err = a.look(ctx); err == nil {
				d, _ := state.Decision(service)
				looked, revision = true, max(revision, d.Revision)
			}
		}
		if err == nil {
			answered = time.Now()
			holds, missing := a.leases.holding(a.self.Incarnation, service, revision, answered) // which never changes
			if lacks = append(missing, holds...); len(holds) == 0 {
				return a.leases.cuts(a.self.Incarnation, service), incomplete(service, lacks)
			}
		} else if time.Since(answered) > a.opts.Patience {
			return nil, incomplete(service, []string{unreachable(err).Message})
		}
		if !sleep(ctx, a.opts.Poll) {
			return nil, incomplete(service, append(lacks, errTimeout.Error()))
		}
	}
}

// holding returns what is said of the others, which are all processes but self, that may hold something of releases
// that have left a service by a decision: those that do, or have not said that they do not, and those that are missing.
func (l *leases) holding(self, service string, revision uint64, now time.Time) (holds, missing []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(l.all)) {
		s := l.all[name]
		switch {
		case s.Incarnation == self:
		case !l.lives(s, now):
			missing = append(missing, name+": "+absence(l.silence(s, now)))
		case !isPast(&s.report, service, revision) || s.report.More:
			holds = append(holds, name+": it has not said that it has "+string(api.FleetApplied))
		case len(s.report.Service(service).Draining) > 0:
			holds = append(holds, name+": it has not said that it has "+string(api.FleetDrained))
		}
	}
	return holds, missing
}

// cuts returns what the others, which are all processes but self, had to cut lately of releases that have left a service.
func (l *leases) cuts(self, service string) (steps []api.FleetStep) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(l.all)) {
		s := l.all[name]
		if s.Incarnation == self {
			continue
		}
		for _, c := range s.report.Service(service).Cut {
			d := c.Drain()
			steps = append(steps, api.FleetStep{Proxy: name, Phase: api.FleetDrained, Drain: &d})
		}
	}
	return steps
}

// incomplete says of which proxies it is not known that they go by a decision; nil if there are none.
func incomplete(service string, lacks []string) error {
	if len(lacks) == 0 {
		return nil
	}
	return &api.Error{
		Code:    api.CodeFleetIncomplete,
		Message: fmt.Sprintf("the change of %s is decided and this proxy goes by it, but not all others are known to: %s", service, strings.Join(lacks, "; ")),
		Hint:    "do not remove the instances of the release before until they are; a proxy that comes back catches up by itself",
	}
}

// Drives implements [proxy.Fleet]: of the proxies that live, have caught up and are not behind, it is the first by name, and of a
// service that only one proxy has, that one.
func (a *Agent) Drives(service string) bool {
	a.mu.Lock()
	takesPart := a.self.Ready && a.problem == nil && !a.left
	_, isImport := a.imports[service]
	a.mu.Unlock()
	return takesPart && (isImport || a.leases.isFirst(a.opts.Name, time.Now()))
}

// isFirst reports whether no other proxy comes before one by its name that lives, follows the fleet and is not behind.
func (l *leases) isFirst(name string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for other, s := range l.all {
		if other < name && s.Ready && s.report.Follows && len(s.report.Behind) == 0 && l.lives(s, now) {
			return false
		}
	}
	return true
}

// Reports implements [proxy.Fleet].
func (a *Agent) Reports() (self string, others []proxy.Told) {
	a.leases.mu.Lock()
	defer a.leases.mu.Unlock()
	for name, s := range a.leases.all {
		if name != a.opts.Name {
			others = append(others, proxy.Told{ID: s.Incarnation, Report: s.report})
		}
	}
	return a.self.Incarnation, others // which never changes
}
