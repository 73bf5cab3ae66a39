package parachute

import (
	"context"
	"sync"
	"time"

	"github.com/parachute-proxy/parachute/internal/proxy"
)

// Keep implements [proxy.Certifier].
func (c *certificates) Keep(host string, issuer proxy.Issuer) {
	k := keptCertificate{issuer, host}
	a, h := c.authority(issuer)
	if h == nil {
		return
	}
	ctx, end := context.WithCancel(h.ctx)
	c.mu.Lock()
	if before := c.kept[k]; before != nil {
		before()
	}
	c.kept[k] = end
	c.mu.Unlock()
	if !h.servesTLS() {
		return // until a config does
	}
	keeping.submit(func() {
		if ctx.Err() != nil || !h.ownCertificate(host).Empty() || h.hasSite(host) {
			return
		}
		// What is in the cache is renewed in time, unless it is too late for that.
		if stored, err := a.load(ctx, host); err != nil || stored.Expired() {
			go c.pursue(ctx, a, k)
		}
	})
}

const (
	// pursuePause and maxPursuePause are the first and the longest pause between two
	// attempts to obtain a certificate that nobody waits for.
	pursuePause    = time.Minute
	maxPursuePause = 6 * time.Hour
	// maxPursued bounds such attempts at a time.
	maxPursued = 16
)

// pursue obtains a certificate, however often that has to be tried, until ctx ends.
// certmagic's own way of doing that keeps a lock between two attempts, which a deploy
// that comes to mend things would wait for.
func (c *certificates) pursue(ctx context.Context, a *authority, k keptCertificate) {
	for pause := pursuePause; ; pause = min(2*pause, maxPursuePause) {
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
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// Forget implements [proxy.Certifier].
func (c *certificates) Forget(host string, issuer proxy.Issuer) {
	k := keptCertificate{issuer, host}
	c.mu.Lock()
	if end := c.kept[k]; end != nil {
		end()
	}
	delete(c.kept, k)
	delete(c.failures, k)
	a := c.authorities[issuer]
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
