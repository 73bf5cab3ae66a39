package load

import (
	"sync"
	"sync/atomic"
)

// Result is what a load has done.
type Result struct {
	Requests int64 // answered as they should be
	Errors   int64
	// FirstError is one of the errors, if there is any.
	FirstError error
}

// counts is what a load counts while it runs.
type counts struct {
	requestsDone, errors atomic.Int64

	// firstMu guards first.
	firstMu sync.Mutex
	first   error
}

// Requests returns how many requests have been answered as they should be.
func (c *counts) Requests() int64 { return c.requestsDone.Load() }

func (c *counts) count(err error) {
	if err == nil {
		c.requestsDone.Add(1)
		return
	}
	c.errors.Add(1)
	c.firstMu.Lock()
	defer c.firstMu.Unlock()
	if c.first == nil {
		c.first = err
	}
}

func (c *counts) result() Result {
	c.firstMu.Lock()
	defer c.firstMu.Unlock()
	return Result{Requests: c.requestsDone.Load(), Errors: c.errors.Load(), FirstError: c.first}
}
