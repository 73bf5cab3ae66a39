package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	// permissionTimeout bounds how long the question may take whether a name may
	// have a certificate: a handshake waits for the answer.
	permissionTimeout = 2 * time.Second
	// permittedFor and deniedFor are how long an answer is remembered.
	permittedFor = 10 * time.Minute
	deniedFor    = 30 * time.Second
	// maxPermissions bounds the answers that are remembered.
	maxPermissions = 10_000
	// maxParallelQuestions bounds the questions that are asked at a time: anybody can
	// have them asked, with names that are made up.
	maxParallelQuestions = 16
)

// Reasons why a name gets no certificate on demand.
var (
	// ErrNoCertificate means that the answer was no.
	ErrNoCertificate = errors.New("the name may not have a certificate")
	// ErrNoPermission means that there was no answer.
	ErrNoPermission = errors.New("nobody could be asked whether the name may have a certificate")
)

// permissionCache remembers answers. Its zero value is empty.
type permissionCache struct {
	// mu guards what follows.
	mu      sync.Mutex
	answers map[permissionKey]permission
	asking  int
}

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
	r := c.active.Load()
	if r.options.TLS == nil || r.options.TLS.OnDemandURL == "" {
		return ErrNoCertificate
	}
	key := permissionKey{r.options.TLS.OnDemandURL, host}
	if key.url[0] == '/' {
		key.url = service + key.url
	}
	if err, known := e.permissions.begin(key, time.Now()); known {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, permissionTimeout)
	defer cancel()
	err := e.askPermission(ctx, r, host)
	e.permissions.end(key, err, time.Now())
	return err
}

// begin returns what is known, or begins a question, which end has to end.
func (c *permissionCache) begin(key permissionKey, now time.Time) (err error, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := c.answers[key]; ok && now.Before(p.until) {
		return p.err, true
	}
	if c.asking == maxParallelQuestions {
		return fmt.Errorf("%w: %d others are being asked about", ErrNoPermission, c.asking), true
	}
	c.asking++
	return nil, false
}

func (c *permissionCache) end(key permissionKey, err error, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asking--
	p := permission{err: err, until: now.Add(permittedFor)}
	switch {
	case errors.Is(err, ErrNoPermission):
		return
	case err != nil:
		p.until = now.Add(deniedFor)
	}
	if c.answers == nil || len(c.answers) >= maxPermissions {
		c.answers = make(map[permissionKey]permission)
	}
	c.answers[key] = p
}

// askPermission asks the URL, or the service itself, about host.
func (e *Engine) askPermission(ctx context.Context, r *Release, host string) error {
	req, tr, err := e.permissionRequest(ctx, r, host)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoPermission, err)
	}
	defer tr.CloseIdleConnections()
	// The transport alone follows no redirect.
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("%w: %s", ErrNoPermission, dialReason(err))
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	resp.Body.Close()
	switch status := resp.StatusCode; {
	case status == http.StatusOK:
		return nil
	case status >= 500:
		// The one who knows is unwell, which is no answer.
		return fmt.Errorf("%w: %s answered %d", ErrNoPermission, Printable(req.URL.Host), status)
	default:
		return fmt.Errorf("%w: %s answered %d", ErrNoCertificate, Printable(req.URL.Host), status)
	}
}

func (e *Engine) permissionRequest(ctx context.Context, r *Release, host string) (*http.Request, probeTransport, error) {
	address := r.options.TLS.OnDemandURL
	var tr probeTransport
	var u *url.URL
	var err error
	header := ""
	if strings.HasPrefix(address, "/") {
		target := r.usableTargets()[0]
		dial := dialer(target, &r.alive, e.opts)
		own := newHTTPTransport(target, dial)
		own.DisableKeepAlives = true
		tr, header = own, probeHost(target, r.options, r.hosts)
		u, err = target.url(address)
	} else {
		tr = &http.Transport{DisableKeepAlives: true, DialContext: e.opts.dialer.DialContext} // no proxy
		u, err = url.Parse(address)
	}
	if err != nil {
		return nil, nil, err
	}
	query := u.Query()
	query.Set("host", host)
	query.Set("domain", host)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	if header != "" {
		req.Host = header
	}
	req.Header.Set("User-Agent", e.opts.UserAgent)
	return req, tr, nil
}
