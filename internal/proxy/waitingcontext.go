package proxy

import (
	"context"
	"sync"

	"github.com/parachute-proxy/parachute/internal/forward"
)

// waitingContext is the context of a request on its way through handlers. It ends when the
// client goes away, also where that is known by the connection and not by the context of the
// server. The connection is watched only if somebody asks for the end, and not any more when
// the request is forwarded: whoever forwards watches by itself.
type waitingContext struct {
	context.Context
	// connection is nil if the context of the server tells.
	connection forward.ClientConnection

	// mu guards what follows.
	mu      sync.Mutex
	derived context.Context
	cancel  context.CancelCauseFunc
	// unwatch ends the watch of the connection; nil if nothing watches.
	unwatch func()
	// handedOver says that the connection must not be watched any more.
	handedOver bool
}

func newWaitingContext(of context.Context, connection forward.ClientConnection) *waitingContext {
	return &waitingContext{Context: of, connection: connection}
}

// derive returns a context that ends when the client goes away.
func (c *waitingContext) derive() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.derived == nil {
		c.derived, c.cancel = context.WithCancelCause(c.Context)
		if c.connection != nil && !c.handedOver {
			c.unwatch = c.connection.OnGone(c.gone(c.cancel))
		}
	}
	return c.derived
}

func (c *waitingContext) gone(cancel context.CancelCauseFunc) func() {
	return func() { cancel(forward.ErrClientGone) }
}

// made returns the derived context, or nil if nobody has asked for the end.
func (c *waitingContext) made() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.derived
}

// Done implements [context.Context].
func (c *waitingContext) Done() <-chan struct{} {
	if c.connection == nil {
		return c.Context.Done()
	}
	return c.derive().Done()
}

// Err implements [context.Context].
func (c *waitingContext) Err() error {
	if derived := c.made(); derived != nil {
		return derived.Err()
	}
	return c.Context.Err()
}

// Value implements [context.Context]. Contexts that are derived from c find the one that c has
// derived, with which they share its end without a goroutine.
func (c *waitingContext) Value(key any) any {
	if derived := c.made(); derived != nil {
		return derived.Value(key)
	}
	return c.Context.Value(key)
}

// stopWatching ends the watch of the connection, for good.
func (c *waitingContext) stopWatching() {
	c.mu.Lock()
	unwatch := c.unwatch
	c.unwatch, c.handedOver = nil, true
	c.mu.Unlock()
	if unwatch != nil {
		unwatch()
	}
}

// handOver ends the watch and returns the connection for whoever watches from here on. The
// context ends when that finds the client gone.
func (c *waitingContext) handOver() forward.ClientConnection {
	c.stopWatching()
	return watchedElsewhere{c}
}

// end ends the context.
func (c *waitingContext) end() {
	c.stopWatching()
	c.mu.Lock()
	cancel := c.cancel
	c.mu.Unlock()
	if cancel != nil {
		cancel(nil)
	}
}

// watchedElsewhere is a connection that somebody else watches than the context of its request.
type watchedElsewhere struct{ context *waitingContext }

// OnGone implements [forward.ClientConnection].
func (h watchedElsewhere) OnGone(gone func()) (stop func()) {
	return h.context.connection.OnGone(func() {
		h.context.derive()
		h.context.cancel(forward.ErrClientGone)
		gone()
	})
}
