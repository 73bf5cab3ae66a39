package edge

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/parachute-proxy/parachute/internal/sockio"
)

// Most connections of a proxy are idle most of the time. One that has just been in use waits for its next request in
// its goroutine, which costs the least time. One that has been idle for longer gives its goroutine up, whose stack is
// most of the memory that it takes, and idleConns waits for it.

// parkAfter is how long a connection waits in its goroutine. Within that, most clients make their next request or none.
// Tests have it shorter.
var parkAfter = 2 * time.Second

const (
	// parkFrom is the shortest limit of idle time with which connections are parked, as a multiple of parkAfter.
	parkFrom = 3
	// sweepPause is the shortest pause between two looks for connections that have been idle for too long.
	sweepPause = time.Second
)

// idleConns are connections that are parked: they wait for a request without a goroutine. Whoever takes a connection
// out goes on with it, alone.
type idleConns struct {
	// mu guards what follows.
	mu sync.Mutex
	// poller is nil before the first connection is parked.
	poller *sockio.Poller
	// byFD has the connections by the numbers of their sockets.
	byFD []*conn
	// sweepAt is when one of them will have been idle for too long; zero if none will.
	sweepAt time.Time
}

// parked are the connections of all servers.
var parked idleConns

// open opens the poller, unless that is done, for as long as the process lasts. It reports whether there is one: the
// process may have no descriptors left, and have some again later. mu must be held.
func (i *idleConns) open() bool {
	if i.poller != nil {
		return true
	}
	poller, err := sockio.NewPoller()
	if err != nil {
		return false
	}
	i.poller = poller
	go i.wait(poller)
	return true
}

// park has c, which is idle, wait without the goroutine that calls, which must not use c any more. It returns false if
// that is not possible.
func (i *idleConns) park(c *conn) (isParked bool) {
	raw, err := c.socket.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(socket uintptr) {
		fd := int(socket)
		i.mu.Lock()
		defer i.mu.Unlock()
		if c.state.Load() != stateIdle || !i.open() {
			return // whoever has closed it has not found it here
		}
		if fd >= len(i.byFD) {
			i.byFD = append(i.byFD, make([]*conn, fd+1-len(i.byFD))...)
		}
		if i.poller.Watch(fd, c.wasParked) != nil {
			return
		}
		c.fd, c.wasParked, isParked = fd, true, true
		i.byFD[fd] = c
		if !c.expires.IsZero() && (i.sweepAt.IsZero() || c.expires.Before(i.sweepAt)) {
			i.sweepAt = c.expires
			i.poller.WakeAt(i.sweepAt)
		}
	})
	return isParked
}

// take takes c out, and reports whether it was there.
func (i *idleConns) take(c *conn) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if c.fd >= len(i.byFD) || i.byFD[c.fd] != c {
		return false
	}
	i.byFD[c.fd] = nil
	return true
}

// wait goes on with connections for as long as the process lasts.
func (i *idleConns) wait(poller *sockio.Poller) {
	for {
		switch err := poller.Wait(i.resume); {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			i.sweep(time.Now())
		default: // which the system does not do
			panic("waiting for idle connections: " + err.Error())
		}
	}
}

// resume has the connection with a socket go on: there is something to read. Nothing is wrong if there is not.
func (i *idleConns) resume(fd int) {
	i.mu.Lock()
	c := i.byFD[fd]
	i.byFD[fd] = nil
	i.mu.Unlock()
	if c != nil {
		start(c)
	}
}

// sweep closes the connections that have been idle for too long.
func (i *idleConns) sweep(now time.Time) {
	i.mu.Lock()
	var expired []*conn
	i.sweepAt = time.Time{}
	for fd, c := range i.byFD {
		switch {
		case c == nil || c.expires.IsZero():
		case c.hasExpired(now):
			i.byFD[fd] = nil
			expired = append(expired, c)
		case i.sweepAt.IsZero() || c.expires.Before(i.sweepAt):
			i.sweepAt = c.expires
		}
	}
	if soonest := now.Add(sweepPause); !i.sweepAt.IsZero() && i.sweepAt.Before(soonest) {
		i.sweepAt = soonest
	}
	i.poller.WakeAt(i.sweepAt)
	i.mu.Unlock()
	for _, c := range expired {
		go c.end() // which waits for a client that takes nothing, over TLS
	}
}
