package fleet

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Imports are the services that a proxy has had before it was part of its fleet.
type Imports struct {
	// Services are those that the fleet may not have.
	Services []string `json:"services,omitempty"`
	// Base is up to where the fleet had decided when the proxy came to it; nil before it has. What it decides later about one of
	// the services is its word. Of what it had decided by then, a removal is that of another service of the same name.
	Base *uint64 `json:"base,omitempty"`
}

const (
	// importsAtOnce is how many are proposed at a time: those that others cannot serve take long.
	importsAtOnce = 8
	// pollsPerImport is for how many polls a service that the others have refused is not proposed again.
	pollsPerImport = 20
	// importPatience bounds how long it may take to share the certificates of services.
	importPatience = 30 * time.Second
)

// settleImports notes which of the services that this proxy has had before the fleet does not have in a state. It must be
// called before that is followed. It returns an error if that could not be noted, which is tried again with the next state.
func (a *Agent) settleImports(state State) error {
	a.mu.Lock()
	pending, base, isNoted := slices.Collect(maps.Keys(a.imports)), a.importBase, a.importsNoted
	a.mu.Unlock()
	if len(pending) == 0 && isNoted {
		return nil
	}
	if base == nil {
		base, isNoted = &state.Revision, false
	}
	served, decided := a.proxy.FleetRevisions(), make(map[string]Decision, len(state.Decisions))
	for _, d := range state.Decisions {
		decided[d.Service] = d
	}
	left, revisions := Imports{Base: base}, make(map[string]uint64)
	for _, service := range pending {
		d := decided[service]
		if _, ok := served[service]; ok && len(d.Document) == 0 && d.Revision <= *base {
			left.Services = append(left.Services, service)
			revisions[service] = d.Revision
		}
	}
	a.proxy.AdoptDecisions(revisions)
	var err error
	if !isNoted || len(left.Services) < len(pending) {
		slices.Sort(left.Services)
		if err = a.opts.NoteImports(left); err != nil {
			err = fmt.Errorf("noting which of its services this proxy has brought into the fleet: %w", err)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.importBase, a.importsNoted = base, err == nil
	maps.DeleteFunc(a.imports, func(service, _ string) bool { _, isLeft := revisions[service]; return !isLeft })
	return err
}

// isImport reports whether a service is one that this proxy has had before, and that the fleet does not have.
func (a *Agent) isImport(service string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.imports[service]
	return ok
}

// checkImports returns an error if a decision cannot be followed, since a service that this proxy has had before has a route of it.
// Which of the two is to go, the operator has to say.
func (a *Agent) checkImports(d Decision) error {
	a.mu.Lock()
	hasImports := len(a.imports) > 0
	a.mu.Unlock()
	if !hasImports || len(d.Document) == 0 {
		return nil
	}
	holder := a.proxy.Holder(d.Service, d.Routes)
	if holder == "" || !a.isImport(holder) {
		return nil
	}
	return fmt.Errorf("the service %s, which this proxy has had before, has a route of the fleet's service %s: start this proxy without a fleet, and remove one of the routes", holder, d.Service)
}

// beginImport begins to propose the services that this proxy has had before. Nothing happens while it is at that. mu must be
// held.
func (a *Agent) beginImport() {
	if len(a.imports) == 0 || a.importing || !a.importsNoted {
		return
	}
	a.importing = true
	services := slices.Sorted(maps.Keys(a.imports))
	ctx := a.term.ctx
	a.term.work.begin(func() {
		if !a.importAll(ctx, services) {
			sleep(ctx, pollsPerImport*a.opts.Poll)
		}
		a.mu.Lock()
		a.importing = false
		a.mu.Unlock()
	})
}

// importAll proposes services, and reports whether the fleet has all of them.
func (a *Agent) importAll(ctx context.Context, services []string) bool {
	_, err := bounded(ctx, a.calls, importPatience, func(ctx context.Context) (struct{}, error) { return struct{}{}, a.opts.BeforeImport(ctx) })
	if err != nil {
		for _, service := range services {
			a.noteImport(service, fmt.Errorf("the certificates of this proxy could not be shared: %w", err))
		}
		return false
	}
	var all sync.WaitGroup
	var isRefused atomic.Bool
	places := make(chan struct{}, importsAtOnce)
	for _, service := range services {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			if !a.noteImport(service, a.importService(ctx, service)) {
				isRefused.Store(true)
			}
		})
	}
	all.Wait()
	return !isRefused.Load()
}

// importService has the fleet decide that a service is what this proxy serves. The other proxies get ready for it as for a
// deploy: what they cannot reach would be served by this proxy alone.
func (a *Agent) importService(ctx context.Context, service string) error {
	p, err := a.proxy.FleetProposal(service)
	if err != nil || p == nil || !a.isImport(service) {
		return err // nil: it was removed, or decided, meanwhile
	}
	p.Deployment, p.Yields = rand.Text(), true
	ballot, err := a.Propose(ctx, *p, func(api.FleetStep) {})
	if err != nil {
		return err
	}
	defer ballot.Close()
	revision, err := ballot.Decide()
	if err != nil {
		return err
	}
	_, err = a.proxy.ApplyDecision(service, p.Document, revision)
	return err
}

// noteImport notes how a service was proposed, and reports whether the fleet has it.
func (a *Agent) noteImport(service string, err error) bool {
	log := a.opts.Logger.With(zap.String("service", service))
	if err == nil {
		log.Info("a service that this proxy has had before is one of the fleet")
		return true
	}
	reason := api.AsError(err).Message
	a.mu.Lock()
	defer a.mu.Unlock()
	before, isPending := a.imports[service]
	if isPending {
		a.imports[service] = reason
	}
	if isPending && reason != before && a.term.ctx.Err() == nil {
		log.Error("a service that this proxy has had before is served by it alone; it is proposed to the fleet again, or deploy it", zap.Error(err))
	}
	return false
}

// pendingImports returns those that the fleet does not have. mu must be held.
func (a *Agent) pendingImports() (all []api.FleetImport) {
	for _, service := range slices.Sorted(maps.Keys(a.imports)) {
		all = append(all, api.FleetImport{Service: service, Reason: a.imports[service]})
	}
	return all
}
