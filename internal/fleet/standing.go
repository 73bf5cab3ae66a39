package fleet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Standing is what a process of a proxy hands over to the one that takes part in its place. The zero value is that of one that
// has not caught up with its fleet, or has left it: the next process joins as after a start.
type Standing struct {
	// Name is that of the proxy in the fleet.
	Name string `json:"name,omitempty"`
	// Ready says that the proxy has caught up.
	Ready bool `json:"ready"`
	// Decisions are the revisions that the proxy goes by, by service.
	Decisions map[string]uint64 `json:"decisions,omitempty"`
	// Plans are those that processes of the proxy coordinate, with the generations of the processes: they have been decided,
	// and have not drained everywhere.
	Plans map[string]int `json:"plans,omitempty"`
	// Seen are the leases of all proxies.
	Seen []Seen `json:"seen,omitempty"`
}

// Seen is a lease, and for how long it has not moved.
type Seen struct {
	Lease   Lease         `json:"lease"`
	Silence time.Duration `json:"silence"`
}

// Suspend has this process take part no more, without a goodbye, since another process of the proxy is about to: see
// [Agent.Adopt]. What it has decided goes on here until it has drained everywhere. [Agent.Resume] has it take part again.
//
// generation is how many processes of the proxy there have been, this one included: no two that are there have the same.
func (a *Agent) Suspend(generation int) Standing {
	a.mu.Lock()
	now, takesPart := a.term, a.started && !a.left
	a.mu.Unlock()
	if !takesPart {
		return Standing{}
	}
	now.end(context.Background())
	a.beatOnce(settleTimeout)     // so that the next process has the whole term of a lease for its first one
	a.calls.settle(settleTimeout) // a beat that comes later would be one of two processes
	a.mu.Lock()
	defer a.mu.Unlock()
	s := Standing{Name: a.opts.Name, Ready: a.self.Ready, Decisions: a.proxy.Decisions(), Plans: make(map[string]int), Seen: a.leases.seen(time.Now())}
	maps.Copy(s.Plans, a.elsewhere)
	for plan := range a.coordinates {
		s.Plans[plan] = generation
	}
	return s
}

// beatOnce writes the lease of this proxy, whether that is due or not. It does not matter if that fails.
func (a *Agent) beatOnce(timeout time.Duration) {
	a.mu.Lock()
	a.self.Beats++
	l := a.self
	a.mu.Unlock()
	_, _ = bounded(a.ctx, a.calls, timeout, func(ctx context.Context) (Lease, error) { return a.opts.Store.Beat(ctx, l) })
}

// Warm reaches the store, so that a process that is about to take part does so at once when it is its turn. It gives up when
// ctx ends.
func (a *Agent) Warm(ctx context.Context) {
	if a.readLeases(ctx) == nil {
		_, _ = a.look(ctx)
	}
}

// Resume has this process take part again after [Agent.Suspend].
func (a *Agent) Resume() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.started && !a.left && a.term.ctx.Err() != nil {
		a.written, a.beaten = Lease{}, time.Time{} // the next beat finds that of the other process, which is gone
		a.applied, a.applying, a.known, a.ending = make(map[string]string), make(map[string]bool), make(map[string]*heard), make(map[string]bool)
		a.acks = make(map[string]Ack) // what was waited for, to say more, is waited for again
		a.term = newTerm(a.ctx)
		go a.run(a.term)
	}
}

// Adopt has this process, which has not started to take part, do so in the place of the one that has the standing. It must
// serve what that one has served. It returns an error if that one takes part under another name.
func (a *Agent) Adopt(s Standing) error {
	if s.Name != "" && s.Name != a.opts.Name {
		return fmt.Errorf("the running process is %s in the fleet, and this one would be %s: stop the proxy, and start it anew", s.Name, a.opts.Name)
	}
	a.proxy.AdoptDecisions(s.Decisions)
	a.leases.adopt(s.Seen, time.Now())
	a.mu.Lock()
	defer a.mu.Unlock()
	a.elsewhere = s.Plans
	if a.self.Ready = s.Ready; s.Ready {
		a.problem = nil
	}
	return nil
}

// Ended tells that a process is gone that this one has taken over from: it coordinates nothing any more. Living tells
// which ones are not.
func (a *Agent) Ended(generation int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.elsewhere, func(_ string, of int) bool { return of == generation })
}

// Living is the contrary of [Agent.Ended]. With a 0, which stands for a process that lives and that nobody knows, it says
// nothing.
func (a *Agent) Living(generations []int) {
	if slices.Contains(generations, 0) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.elsewhere, func(_ string, of int) bool { return !slices.Contains(generations, of) })
}
