package transport

import (
	"sync"
	"time"
)

// pool keeps connections that wait for a request, the one that was used last on
// top: a burst leaves connections at the bottom, which then age and go.
type pool struct {
	// mu guards what follows.
	mu     sync.Mutex
	idle   []*conn
	closed bool
	// sweeper closes connections that have waited too long. It sleeps while the
	// pool is empty.
	sweeper  *time.Timer
	sweeping bool
	// maxIdle is what the last put said: the target may have announced less
	// meanwhile than when the sweeper was made.
	maxIdle time.Duration
}

// take returns the connection that was used last, or nil. One that has waited for
// longer than maxIdle is not worth trying: it is about to be swept.
func (p *pool) take(now time.Time, maxIdle time.Duration) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.idle) - 1
	if last < 0 || now.Sub(p.idle[last].idleSince) > maxIdle {
		return nil
	}
	c := p.idle[last]
	p.idle[last] = nil
	p.idle = p.idle[:last]
	return c
}

// put keeps c for at most maxIdle and reports whether it did: the pool may be
// closed, or have limit connections already.
func (p *pool) put(c *conn, limit int, maxIdle time.Duration) bool {
	c.idleSince = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) >= limit {
		return false
	}
	p.idle = append(p.idle, c)
	p.maxIdle = maxIdle
	if !p.sweeping {
		p.sweepAfter(maxIdle)
	}
	return true
}

// sweepAfter lets the sweeper come after d. mu must be held.
func (p *pool) sweepAfter(d time.Duration) {
	p.sweeping = true
	if p.sweeper == nil {
		p.sweeper = time.AfterFunc(d, p.sweep)
		return
	}
	p.sweeper.Reset(d)
}

// sweep closes what has waited for maxIdle, which is at the bottom.
func (p *pool) sweep() {
	p.mu.Lock()
	before := time.Now().Add(-p.maxIdle)
	n := 0
	for n < len(p.idle) && !p.idle[n].idleSince.After(before) {
		n++
	}
	old := append([]*conn(nil), p.idle[:n]...)
	rest := copy(p.idle, p.idle[n:])
	clear(p.idle[rest:])
	p.idle = p.idle[:rest]
	if p.sweeping = rest > 0; p.sweeping {
		p.sweepAfter(p.idle[0].idleSince.Sub(before))
	}
	p.mu.Unlock()
	closeAll(old)
}

func (p *pool) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle)
}

// closeIdle closes all connections. With for good, later ones are not kept.
func (p *pool) closeIdle(forGood bool) {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.closed = p.closed || forGood
	if p.sweeping {
		p.sweeper.Stop()
		p.sweeping = false
	}
	p.mu.Unlock()
	closeAll(idle)
}

func closeAll(conns []*conn) {
	for _, c := range conns {
		c.close()
	}
}
