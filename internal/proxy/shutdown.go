package proxy

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// stop ends deployments that have not switched, refuses new ones, and returns the
// releases that are in a line-up and those that are draining. as is what the engine is
// from then on.
func (e *Engine) stop(as life) (inService, draining []*release) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if before := e.life.now(); e.life.become(as) && before.takesOperations() {
		close(e.stopped)
	}
	for _, s := range e.services {
		for _, d := range slices.Clone(s.deployments) {
			d.abort(&api.Error{Code: api.CodeStopping, Message: "the proxy is stopping; nothing has changed"})
		}
		if l := s.lineup(); l != nil {
			inService = append(inService, l.releases()...)
		}
		draining = append(draining, s.draining...)
	}
	return inService, draining
}

// Shutdown ends deployments that have not switched, closes streams politely and
// waits for them and for commits under way until ctx ends. Requests keep being
// served: the server, which knows when it has stopped accepting them, waits for
// those.
func (e *Engine) Shutdown(ctx context.Context) {
	inService, draining := e.stop(lifeStopping)
	spread := time.Second
	if deadline, ok := ctx.Deadline(); ok {
		spread = min(spread, time.Until(deadline)/2)
	}
	var closing sync.WaitGroup
	for _, r := range slices.Concat(inService, draining) {
		closing.Go(func() { r.Shutdown(ctx, spread) })
	}
	closing.Wait()

	ended := make(chan struct{})
	go func() {
		e.operations.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// Retire ends deployments that have not switched, and lets the requests and
// streams that are in flight end as after a deploy. It does not wait for them: it
// is for a host that goes on without the engine.
func (e *Engine) Retire() {
	inService, _ := e.stop(lifeRetired) // the others drain already
	for _, r := range inService {
		r.StopAcquiring()
		go r.Drain(api.DrainLimits{Requests: time.Duration(api.DefaultDrainTimeout), Streams: time.Duration(api.DefaultStreamTimeout)}, nil)
	}
}

// Close gives up everything at once: connections, probes, deployments.
func (e *Engine) Close() {
	inService, _ := e.stop(lifeStopping)
	for _, r := range inService {
		r.Close()
	}
	e.chains.awaitClosed()
}
