package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
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

// AllowCertificate asks, as the service with that name was deployed to, whether host
// may have a certificate on demand. It returns nil, [ErrNoCertificate] or
// [ErrNoPermission]. Answers are remembered, silence is not.
func (e *Engine) AllowCertificate(ctx context.Context, service, host string) error {
	c := e.table.Load().named[service]
	if c == nil {
		return ErrNoCertificate
	}
	r := c.release()
	if r.Spec.Options.TLS == nil || r.Spec.Options.TLS.OnDemandURL == "" {
		return ErrNoCertificate
	}
	key := permissionKey{r.Spec.Options.TLS.OnDemandURL, host}
	if key.url[0] == '/' {
		key.url = service + key.url
	}
	if err, known := e.permissions.begin(key, time.Now()); known {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, e.permissionTimeout)
	defer cancel()
	err := e.askPermission(ctx, r, host)
	e.permissions.end(key, err, time.Now())
	return err
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

// askPermission asks the URL, or the service itself, about host.
func (e *Engine) askPermission(ctx context.Context, r *release, host string) error {
	address := r.Spec.Options.TLS.OnDemandURL
	if strings.HasPrefix(address, "/") {
		return e.askService(ctx, r.Spec.Service, address, host)
	}
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoPermission, err)
	}
	tr := &http.Transport{DisableKeepAlives: true, DialContext: e.forwarder.Dialer().DialContext} // no proxy
	return e.ask(ctx, tr, u, "", host)
}

// askService asks a target of the service about host. That is a request like others: a
// drain waits for it, and may cut it.
func (e *Engine) askService(ctx context.Context, service, path, host string) error {
	r, err := e.acquireNamed(service)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoPermission, err)
	}
	defer r.Done()
	if r.Spec.Options.TLS == nil || r.Spec.Options.TLS.OnDemandURL != path {
		return fmt.Errorf("%w: %s has been deployed with another URL meanwhile", ErrNoPermission, service)
	}
	ctx, cancel := r.WithCut(ctx)
	defer cancel()
	tr, u, header, err := r.Page(path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoPermission, err)
	}
	return e.ask(ctx, tr, u, header, host)
}

// ask asks the URL about host. header is the Host header; empty: that of the URL.
func (e *Engine) ask(ctx context.Context, tr *http.Transport, u *url.URL, header, host string) error {
	query := u.Query()
	query.Set("host", host)
	query.Set("domain", host)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoPermission, err)
	}
	if header != "" {
		req.Host = header
	}
	req.Header.Set("User-Agent", e.opts.UserAgent)
	defer tr.CloseIdleConnections()
	// The transport alone follows no redirect.
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("%w: %s", ErrNoPermission, forward.DialReason(err))
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	resp.Body.Close()
	switch status := resp.StatusCode; {
	case status == http.StatusOK:
		return nil
	case status >= 500:
		// The application that was asked has failed, which does not say that the name may
		// not have a certificate.
		return fmt.Errorf("%w: %s answered %d", ErrNoPermission, api.Printable(req.URL.Host), status)
	default:
		return fmt.Errorf("%w: %s answered %d", ErrNoCertificate, api.Printable(req.URL.Host), status)
	}
}
