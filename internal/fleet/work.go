package fleet

import (
	"context"
	"sync"
)

// work are goroutines that whoever stops waits for. The zero value has none.
type work struct {
	// mu guards that nothing begins while it is waited for.
	mu    sync.Mutex
	ended bool
	all   sync.WaitGroup
}

// begin runs a function in a goroutine, unless the work has ended.
func (w *work) begin(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.all.Go(do)
	}
}

// end has nothing begin any more, and waits for what has begun, until ctx ends.
func (w *work) end(ctx context.Context) {
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	over := make(chan struct{})
	go func() {
		w.all.Wait()
		close(over)
	}()
	select {
	case <-over:
	case <-ctx.Done():
	}
}
