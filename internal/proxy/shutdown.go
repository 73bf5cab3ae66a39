package proxy

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Shutdown ends deployments that have not switched, closes streams politely and
// waits for them and for commits under way until ctx ends. Requests keep being
// served: the server, which knows when it has stopped accepting them, waits for
// those.
func (e *Engine) Shutdown(ctx context.Context) {
	e.mu.Lock()
	e.stopping = true
	var releases []*Release
	for _, s := range e.services {
		for _, d := range slices.Clone(s.deployments) {
			d.abort(&Error{Code: CodeStopping, Message: "the proxy is stopping; nothing has changed"})
		}
		if s.active != nil {
			releases = append(releases, s.active.active.Load())
		}
		releases = append(releases, s.draining...)
	}
	e.mu.Unlock()

	spread := time.Second
	if deadline, ok := ctx.Deadline(); ok {
		spread = min(spread, time.Until(deadline)/2)
	}
	var closing sync.WaitGroup
	for _, r := range releases {
		closing.Go(func() { r.shutdown(ctx, spread) })
	}
	closing.Wait()

	ended := make(chan struct{})
	go func() {
		e.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// Close gives up everything at once: connections, probes, deployments.
func (e *Engine) Close() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	e.Shutdown(ctx)
	var active []*Release
	e.mu.Lock()
	for _, s := range e.services {
		if s.active != nil {
			active = append(active, s.active.active.Load())
		}
	}
	e.mu.Unlock()
	for _, r := range active {
		r.close()
	}
}
