package edge

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"
)

// requestContext is the context of a request. It ends when the request has been served, or when
// the client goes away. Nobody looks for the latter until somebody asks for the end.
type requestContext struct {
	// Context is that of the connection, which has values and never ends.
	context.Context
	conn *conn

	// mu guards what follows.
	mu   sync.Mutex
	done chan struct{} // nil until somebody asks
	err  error
	// calls are to be made at the end.
	calls map[*func()]struct{}
	// quiet says that the connection has nothing more of the request, so that what comes is for
	// the watch to read. over says that it may not be watched any more.
	quiet, over bool
	// watched is closed when the watch has ended; nil if there has been none. stopping says that
	// it has been told to end.
	watched  chan struct{}
	stopping bool
	// took says that the watch has read the byte in conn.one.
	took bool
}

// Done implements [context.Context].
func (c *requestContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ask()
	return c.done
}

// ask begins to look for the end. mu must be held.
func (c *requestContext) ask() {
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
		c.watch()
	}
}

// Err implements [context.Context].
func (c *requestContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// AfterFunc is what [context.AfterFunc] and contexts that are derived from this one use: they
// need no goroutine then.
func (c *requestContext) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ask()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	if c.calls == nil {
		c.calls = make(map[*func()]struct{})
	}
	c.calls[&f] = struct{}{}
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, ok := c.calls[&f]
		delete(c.calls, &f)
		return ok
	}
}

// end ends the context.
func (c *requestContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked()
}

func (c *requestContext) endLocked() {
	if c.err != nil {
		return
	}
	c.err = context.Canceled
	if c.done != nil {
		close(c.done)
	}
	for f := range c.calls {
		go (*f)()
	}
	c.calls = nil
}

// bodyEnded is called when all of the request has been read.
func (c *requestContext) bodyEnded() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quiet = true
	c.watch()
}

// watch begins to watch the connection, if that is wanted and possible. mu must be held.
func (c *requestContext) watch() {
	if c.done == nil || !c.quiet || c.over || c.err != nil || c.watched != nil {
		return
	}
	c.watched = make(chan struct{})
	// Deadlines for the request do not hold any more.
	_ = c.conn.nc.SetReadDeadline(time.Time{})
	go c.read(c.watched)
}

// read waits for a byte, or for the end of the connection.
func (c *requestContext) read(done chan<- struct{}) {
	defer close(done)
	n, err := c.conn.nc.Read(c.conn.one[:])
	c.mu.Lock()
	defer c.mu.Unlock()
	c.took = n > 0
	if err != nil && (!c.stopping || !errors.Is(err, os.ErrDeadlineExceeded)) {
		c.endLocked()
	}
}

// unwatch ends the watch, for good. What it has read is in the buffer of the connection then.
func (c *requestContext) unwatch() {
	c.mu.Lock()
	c.over = true
	watched := c.watched
	c.stopping = true
	c.mu.Unlock()
	if watched == nil {
		return
	}
	select {
	case <-watched:
	default:
		_ = c.conn.nc.SetReadDeadline(longAgo)
		<-watched
		_ = c.conn.nc.SetReadDeadline(time.Time{})
	}
	if c.took {
		c.took = false
		c.conn.append(c.conn.one[0])
	}
}
