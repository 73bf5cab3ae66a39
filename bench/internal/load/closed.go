package load

import (
	"sync"
	"sync/atomic"
	"time"
)

// Closed is a closed loop: each of its connections sends the next request when
// the last one is answered.
type Closed struct {
	server   Server
	requests []Request
	bytes    [][]byte

	stop  atomic.Bool
	users sync.WaitGroup
	counts
}

// maxRequests bounds what a load sends in all, should a clock go astray.
const maxRequests = 50_000_000

// StartClosed starts a closed loop over n connections. Each goes through the
// requests in turn, starting at a different one.
func StartClosed(server Server, n int, requests ...Request) *Closed {
	l := &Closed{server: server, requests: requests}
	for _, r := range requests {
		l.bytes = append(l.bytes, r.Bytes())
	}
	for i := range n {
		l.users.Go(func() { l.user(i * len(requests) / n) })
	}
	return l
}

// Stop waits for the requests that are under way and returns what has happened
// from the start on.
func (l *Closed) Stop() Result {
	l.stop.Store(true)
	l.users.Wait()
	return l.result()
}

func (l *Closed) user(next int) {
	var c *client
	defer func() {
		if c != nil {
			c.conn.Close()
		}
	}()
	var deadline time.Time
	for ; !l.stop.Load() && l.requestsDone.Load() < maxRequests; next++ {
		if next == len(l.requests) {
			next = 0
		}
		if c == nil {
			var err error
			if c, err = dial(l.server); err != nil {
				c = nil
				l.count(err)
				pause()
				continue
			}
			deadline = time.Time{}
		}
		// Renewing a deadline costs as much as a small system call, so it is done
		// once in a while.
		if now := time.Now(); deadline.Sub(now) < timeout/2 {
			deadline = now.Add(timeout)
			_ = c.conn.SetDeadline(deadline)
		}
		again, err := l.exchange(c, next)
		l.count(err)
		if !again {
			c.conn.Close()
			c = nil
		}
		if err != nil {
			pause()
		}
	}
}

func (l *Closed) exchange(c *client, i int) (again bool, err error) {
	if _, err := c.conn.Write(l.bytes[i]); err != nil {
		return false, err
	}
	again, err = c.receive(l.requests[i].WantLength)
	return again && !l.requests[i].Close, err
}

// pause keeps a proxy that refuses everything from being asked a million times.
func pause() { time.Sleep(5 * time.Millisecond) }
