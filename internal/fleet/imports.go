package fleet

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

const (
	// importTimeout bounds how long the other proxies may take to get ready for a service that this one has had before.
	importTimeout = 30 * time.Second
	// pollsPerImport is for how many polls a service that the others have refused is not proposed again.
	pollsPerImport = 20
)

// settleImports notes which of the services that this proxy has had before the fleet does not have in a state. It must be
// called before that is followed: a service of that name that the fleet has removed at some time is not this one.
func (a *Agent) settleImports(state State) {
	a.mu.Lock()
	pending := a.pendingImports()
	a.mu.Unlock()
	if len(pending) == 0 {
		return
	}
	served, decided, removed := a.proxy.FleetRevisions(), make(map[string]Decision, len(state.Decisions)), make(map[string]uint64)
	for _, d := range state.Decisions {
		decided[d.Service] = d
	}
	var settled []string
	for _, i := range pending {
		d := decided[i.Service]
		if _, ok := served[i.Service]; !ok || len(d.Document) > 0 {
			settled = append(settled, i.Service)
		} else {
			removed[i.Service] = d.Revision
		}
	}
	a.proxy.AdoptDecisions(removed)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, service := range settled {
		delete(a.imports, service)
	}
	if len(a.imports) == 0 && a.opts.Imported != nil {
		go a.opts.Imported()
	}
}

// isImport reports whether a service is one that this proxy has had before, and that the fleet does not have.
func (a *Agent) isImport(service string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.imports[service]
	return ok
}

// beginImport begins to propose the services that this proxy has had before. Nothing happens while it is at that. mu must be
// held.
func (a *Agent) beginImport() {
	if len(a.imports) == 0 || a.importing {
		return
	}
	a.importing = true
	services := slices.Sorted(maps.Keys(a.imports))
	ctx := a.term.ctx
	a.term.work.begin(func() {
		isRefused := false
		var err error
		if a.opts.BeforeImport != nil {
			err = a.opts.BeforeImport(ctx)
		}
		for _, service := range services {
			if err == nil {
				isRefused = !a.noteImport(service, a.importService(ctx, service)) || isRefused
			} else {
				isRefused = !a.noteImport(service, fmt.Errorf("its certificates could not be shared: %w", err))
			}
		}
		if isRefused {
			sleep(ctx, pollsPerImport*a.opts.Poll)
		}
		a.mu.Lock()
		a.importing = false
		a.mu.Unlock()
	})
}

// importService has the fleet decide that a service is what this proxy serves. The other proxies get ready for it as for a
// deploy: what they cannot reach would be served by this proxy alone.
func (a *Agent) importService(ctx context.Context, service string) error {
	state, err := a.look(ctx)
	if err != nil {
		return unreachable(err)
	}
	d, _ := state.Decision(service)
	document, routes, err := a.proxy.FleetDocument(service)
	if err != nil || document == nil || len(d.Document) > 0 {
		return err // nil: it was removed, or decided, meanwhile
	}
	ballot, err := a.Propose(ctx, proxy.Proposal{
		Deployment: rand.Text(), Service: service, Document: document, Routes: routes, Base: d.Revision, Yields: true, Timeout: importTimeout,
	}, func(api.FleetStep) {})
	if err != nil {
		return err
	}
	defer ballot.Close()
	revision, err := ballot.Decide()
	if err != nil {
		return err
	}
	_, err = a.proxy.ApplyDecision(service, document, revision)
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
