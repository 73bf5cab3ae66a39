package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
)

// onDemand are certificates that are obtained when somebody asks for them, as far as a URL
// allows that. Hosts that are known have theirs before, as with [issued].
type onDemand struct{ issued }

// issuedHosts leaves out wildcards: the names below one get theirs on demand.
func (s onDemand) issuedHosts() []string {
	return slices.DeleteFunc(slices.Clone(s.of.Spec.Hosts), api.IsWildcard)
}

func (s onDemand) check(e *Engine) error { return s.checkHosts(e, s.issuedHosts()) }

func (s onDemand) obtain(e *Engine, d *Deployment) ([]api.Certificate, error) {
	if err := s.obtainHosts(e, d, s.issuedHosts()); err != nil {
		return nil, err
	}
	// One that is not there yet is no news: it comes with the first handshake.
	return slices.DeleteFunc(s.certificates(e), func(c api.Certificate) bool { return c.NotAfter == nil }), nil
}

func (onDemand) covers(*Engine, string) bool { return true }

func (s onDemand) answer(e *Engine, serverName, host string) (TLSName, bool) {
	if host != "" && !api.IsWildcard(host) {
		return s.issued.answer(e, serverName, host)
	}
	service, name := s.of.Spec.Service, canonicalName(serverName)
	return TLSName{
		Service: service, Host: name, Issuer: s.of.Spec.Options.TLS.Issuer,
		Allow: func(ctx context.Context) error { return e.AllowCertificate(ctx, service, name) },
	}, true
}

func (s onDemand) certificates(e *Engine) []api.Certificate { return s.describe(e, s.issuedHosts()) }

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
