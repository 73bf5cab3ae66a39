package forward

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// endSignal is a context that does nothing but end, once. A release has three of them, and
// ten thousand releases have thirty thousand: unlike those of package context it takes
// no memory for whoever has stopped waiting for it. Its zero value has not ended.
type endSignal struct {
	over atomic.Bool

	// mu guards what follows.
	mu   sync.Mutex
	done chan struct{} // made when it is asked for
	// hooks are what is called in the end; nil if there are none.
	hooks map[*func()]struct{}
}

var _ context.Context = (*endSignal)(nil)

// end ends the context. Only the first call does.
func (e *endSignal) end() {
	e.mu.Lock()
	if e.over.Swap(true) {
		e.mu.Unlock()
		return
	}
	hooks := e.hooks
	e.hooks = nil
	if e.done != nil {
		close(e.done)
	}
	e.mu.Unlock()
	for hook := range hooks {
		go (*hook)()
	}
}

// Deadline implements [context.Context].
func (*endSignal) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value implements [context.Context].
func (*endSignal) Value(any) any { return nil }

// Err implements [context.Context].
func (e *endSignal) Err() error {
	if e.over.Load() {
		return context.Canceled
	}
	return nil
}

// Done implements [context.Context].
func (e *endSignal) Done() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.done == nil {
		e.done = make(chan struct{})
		if e.over.Load() {
			close(e.done)
		}
	}
	return e.done
}

// AfterFunc calls f in a goroutine of its own when e has ended, unless stop is called
// before, which reports whether it was in time. [context.AfterFunc] uses it.
func (e *endSignal) AfterFunc(f func()) (stop func() bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over.Load() {
		go f()
		return func() bool { return false }
	}
	if e.hooks == nil {
		e.hooks = make(map[*func()]struct{})
	}
	hook := &f
	e.hooks[hook] = struct{}{}
	return func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		_, waiting := e.hooks[hook]
		delete(e.hooks, hook)
		if len(e.hooks) == 0 {
			e.hooks = nil
		}
		return waiting
	}
}
