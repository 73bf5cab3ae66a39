//go:build unix

package clientconn

import (
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/parachute-proxy/parachute/internal/sockio"
)

const canWatchClient = true

// OnGone calls gone when the client goes away, unless stop is called before. When stop
// returns, nothing is called or waited for any more. It may be called again for the same
// request, which may be sent to one release after the other, once stop has returned.
//
// If it is the server that watches, gone is never called: the server ends the context of
// the request instead.
//
// Like the server's, the watch ends with the next request if the client does not wait
// for the answer before it sends that.
func (c *Conn) OnGone(gone func()) (stop func()) {
	if c.watcher.CompareAndSwap(undecided, serverWatches) || c.watcher.Load() == serverWatches {
		return func() {} // the context of the request ends
	}
	raw, err := c.SyscallConn()
	if err != nil {
		gone()
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		left := false
		for {
			err := raw.Read(func(fd uintptr) bool {
				n, err := sockio.TryPeek(int(fd))
				known := err != syscall.EAGAIN
				left = known && n == 0
				return known
			})
			if errors.Is(err, os.ErrDeadlineExceeded) && c.waitOn() {
				continue
			}
			if left || err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				gone()
			}
			return
		}
	}()
	return func() {
		c.endWait(true)
		<-done
		c.endWait(false)
	}
}

// waitOn is called when the deadline of the socket has ended the wait of OnGone for the
// client. If the deadline was not set by endWait, waitOn removes it and returns true.
func (c *Conn) waitOn() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.waitOver && c.moveTo(time.Time{}) == nil
}

// endWait ends the wait of OnGone by a deadline of the socket in the past, which the next
// read puts right, or allows the next wait.
func (c *Conn) endWait(end bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waitOver = end
	if end {
		_ = c.moveTo(longAgo)
	}
}
