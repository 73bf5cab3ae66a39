package proxy

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"
)

const (
	// defaultPermissionTimeout bounds how long the question may take whether a name may
	// have a certificate: a handshake waits for the answer.
	defaultPermissionTimeout = 2 * time.Second
	// permittedFor and deniedFor are how long an answer is remembered.
	permittedFor = 10 * time.Minute
	deniedFor    = 30 * time.Second
	// maxPermissions bounds the answers that are remembered, of all URLs together.
	maxPermissions = 10_000
	// maxParallelQuestions bounds the questions that a URL is asked at a time: anybody
	// can have them asked, with names that are made up.
	maxParallelQuestions = 16
)

// Reasons why a name gets no certificate on demand.
var (
	// ErrNoCertificate means that the answer was no.
	ErrNoCertificate = errors.New("the name may not have a certificate")
	// ErrNoPermission means that there was no answer.
	ErrNoPermission = errors.New("the on-demand URL could not be asked whether the name may have a certificate")
)

// permissionCache remembers answers. Its zero value is empty.
//
// Names can be made up for one service without end, and who is asked may be slow. That
// must not keep other services from asking, nor cost them what they have allowed.
type permissionCache struct {
	// mu guards what follows.
	mu sync.Mutex
	// urls are those that are being asked or have answers.
	urls map[string]*permissions
	// answers is how many there are.
	answers int
}

// permissions are those that one URL has given or denied.
type permissions struct {
	answers map[string]permission // by host
	asking  int
}

// permissionKey is a question: may host have a certificate, as url says?
type permissionKey struct{ url, host string }

type permission struct {
	err   error
	until time.Time
}

// begin returns what is known, or begins a question, which end has to end.
func (c *permissionCache) begin(key permissionKey, now time.Time) (err error, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.urls[key.url]
	if u == nil {
		u = &permissions{answers: make(map[string]permission)}
		if c.urls == nil {
			c.urls = make(map[string]*permissions)
		}
		c.urls[key.url] = u
	}
	if p, ok := u.answers[key.host]; ok && now.Before(p.until) {
		return p.err, true
	}
	if u.asking == maxParallelQuestions {
		return fmt.Errorf("%w: %d others are being asked about", ErrNoPermission, u.asking), true
	}
	u.asking++
	return nil, false
}

func (c *permissionCache) end(key permissionKey, err error, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.urls[key.url]
	if !errors.Is(err, ErrNoPermission) {
		if c.answers >= maxPermissions {
			c.makeRoom(now)
		}
		p := permission{err: err, until: now.Add(permittedFor)}
		if err != nil {
			p.until = now.Add(deniedFor)
		}
		before := len(u.answers)
		u.answers[key.host] = p
		c.answers += len(u.answers) - before
	}
	u.asking--
	c.tidy(key.url)
}

// makeRoom drops what has expired or was denied. Where that is next to nothing, it drops
// what the URL with the most answers has given, too. mu must be held.
func (c *permissionCache) makeRoom(now time.Time) {
	drop := func(url string, worthless func(permission) bool) {
		u := c.urls[url]
		before := len(u.answers)
		maps.DeleteFunc(u.answers, func(_ string, p permission) bool { return worthless(p) })
		c.answers -= before - len(u.answers)
		c.tidy(url)
	}
	most := ""
	for url := range c.urls {
		drop(url, func(p permission) bool { return p.err != nil || !now.Before(p.until) })
		if u := c.urls[url]; u != nil && (most == "" || len(u.answers) > len(c.urls[most].answers)) {
			most = url
		}
	}
	// To look at all of them again for the next answer would take too long.
	if c.answers > maxPermissions-maxPermissions/100 {
		drop(most, func(permission) bool { return true })
	}
}

// tidy forgets a URL that nothing is known of. mu must be held.
func (c *permissionCache) tidy(url string) {
	if u := c.urls[url]; u.asking == 0 && len(u.answers) == 0 {
		delete(c.urls, url)
	}
}
