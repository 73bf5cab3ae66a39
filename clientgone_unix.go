//go:build unix

package parachute

import (
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/parachute-proxy/parachute/internal/transport"
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
func (c *clientConn) OnGone(gone func()) (stop func()) {
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
				n, err := transport.Peek(fd)
				known := err != syscall.EAGAIN
				left = known && n == 0
				return known
			})
			if errors.Is(err, os.ErrDeadlineExceeded) && c.watchOn() {
				continue
			}
			if left || err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				gone()
			}
			return
		}
	}()
	return func() {
		c.endWatch(true)
		<-done
		c.endWatch(false)
	}
}

// watchOn is called when the deadline of the socket has ended the wait for a client. If
// that was not what it is for, watchOn takes it away and returns true.
func (c *clientConn) watchOn() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.unwatched && c.moveTo(time.Time{}) == nil
}

// endWatch has the wait for a client end. The deadline of the socket, which it does
// that by, is put right by the next read.
func (c *clientConn) endWatch(end bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unwatched = end
	if end {
		_ = c.moveTo(longAgo)
	}
}
