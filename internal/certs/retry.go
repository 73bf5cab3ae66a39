package certs

import (
	"context"
	"sync"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// pursuit is what is done about a certificate to look after.
type pursuit struct {
	end context.CancelFunc
	// pause is the last one between two attempts to obtain it, and next is when the
	// next attempt is due: at once as long as none has failed.
	pause time.Duration
	next  time.Time
}

const (
	// pursuePause and maxPursuePause are the first and the longest pause between two
	// attempts to obtain a certificate that nobody waits for.
	pursuePause    = time.Minute
	maxPursuePause = 6 * time.Hour
	// maxReloadPause is the longest one if a reload comes, which may have mended what was
	// wrong; but they come often, and authorities limit failures to a few an hour.
	maxReloadPause = 15 * time.Minute
	// maxPursued bounds such attempts at a time.
	maxPursued = 16
)

// failed puts the next attempt off.
func (p *pursuit) failed(now time.Time) {
	p.pause = min(max(2*p.pause, pursuePause), maxPursuePause)
	p.next = now.Add(p.pause)
}

// reloaded brings the next attempt forward.
func (p *pursuit) reloaded() {
	if p.pause > maxReloadPause {
		p.next = p.next.Add(maxReloadPause - p.pause)
		p.pause = maxReloadPause
	}
}

// Keep implements [proxy.Certifier]. It comes with a deploy, which may have mended
// things, so a certificate that is missing is tried for at once.
func (c *Manager) Keep(host string, issuer api.Issuer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.config != nil {
		c.keep(keptCertificate{issuer, host}, new(pursuit))
	}
}

// keep looks after a certificate, by the config that is running, instead of what was
// done about it before. mu must be held.
func (c *Manager) keep(k keptCertificate, p *pursuit) {
	if before := c.kept[k]; before != nil {
		before.end()
	}
	h, a := c.config, c.pools[k.issuer]
	ctx, end := context.WithCancel(h.ctx)
	p.end = end
	c.kept[k] = p
	if !h.ServesTLS() {
		return // until a config does
	}
	keeping.submit(func() {
		if ctx.Err() != nil || !h.ownCertificate(k.host).Empty() || h.hasSite(k.host) {
			return
		}
		// What is in the cache is renewed in time, unless it is too late for that.
		if stored, err := a.load(ctx, k.host); err != nil || stored.Expired() {
			go c.pursue(ctx, a, k, p)
		}
	})
}

// pursue obtains a certificate, however often that has to be tried, until ctx ends.
// certmagic's own way of doing that keeps a lock between two attempts, which a deploy
// that comes to mend things would wait for.
func (c *Manager) pursue(ctx context.Context, a *issuerPool, k keptCertificate, p *pursuit) {
	for {
		c.mu.Lock()
		pause := time.Until(p.next)
		c.mu.Unlock()
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		select {
		case c.pursued <- struct{}{}:
		case <-ctx.Done():
			return
		}
		_, err := a.obtain(ctx, k.host)
		<-c.pursued
		if ctx.Err() != nil {
			return
		}
		c.failed(k, err)
		if err == nil {
			return
		}
		c.mu.Lock()
		p.failed(time.Now())
		c.mu.Unlock()
	}
}

// Forget implements [proxy.Certifier].
func (c *Manager) Forget(host string, issuer api.Issuer) {
	k := keptCertificate{issuer, host}
	c.mu.Lock()
	if p := c.kept[k]; p != nil {
		p.end()
	}
	delete(c.kept, k)
	delete(c.looked, k)
	delete(c.failures, k)
	a := c.pools[issuer]
	c.mu.Unlock()
	if a != nil {
		a.forget(host)
	}
}

// keeping loads the certificates of deployed hosts from storage, one after the other:
// after a start there may be thousands, and traffic has precedence.
var keeping queue

// queue runs jobs one at a time, in a goroutine that is there only while there are any.
type queue struct {
	// mu guards what follows.
	mu      sync.Mutex
	jobs    []func()
	running bool
}

// submit adds a job and returns at once.
func (q *queue) submit(job func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.jobs = append(q.jobs, job)
	if !q.running {
		q.running = true
		go q.run()
	}
}

func (q *queue) run() {
	for {
		q.mu.Lock()
		if len(q.jobs) == 0 {
			q.jobs, q.running = nil, false
			q.mu.Unlock()
			return
		}
		job := q.jobs[0]
		q.jobs = q.jobs[1:]
		q.mu.Unlock()
		job()
	}
}
