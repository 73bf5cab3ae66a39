package certs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/certmagic"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

// Manager gets the certificates of deployed hosts by Caddy's issuers and keeps
// them. Like the engine, whose [proxy.Certifier] it is, it outlives reloads.
type Manager struct {
	engine tlsNames
	// attached is closed when there is a config to work with.
	attached   chan struct{}
	attachOnce sync.Once

	// pursued bounds the certificates that are obtained in the background at a time.
	pursued chan struct{}

	// mu guards what follows.
	mu sync.Mutex
	// config is the config of Caddy that is running.
	config *CaddyConfig
	pools  map[api.Issuer]*issuerPool
	// kept are the certificates to look after.
	kept map[keptCertificate]*pursuit
	// looked are the certificates that a request has had looked for in storage.
	looked map[keptCertificate]<-chan struct{}
	// failures are the last ones, by certificate.
	failures map[keptCertificate]issuanceFailure
}

// tlsNames is what the engine says of the names that clients ask for in TLS handshakes.
// [proxy.Engine] implements it.
type tlsNames interface {
	// TLSName returns what the handshake for a server name is answered with, and whether
	// there is anything.
	TLSName(serverName string) (proxy.TLSName, bool)
	// DefaultTLSName returns what a handshake without a server name is answered with.
	DefaultTLSName() (proxy.TLSName, bool)
	// NeedsCertificate reports whether a service that claims host has its certificates
	// from issuer.
	NeedsCertificate(host string, issuer api.Issuer) bool
}

// Bind makes e the engine that certificates are kept for. It is to be called before
// anything else.
func (c *Manager) Bind(e tlsNames) { c.engine = e }

type keptCertificate struct {
	issuer api.Issuer
	host   string
}

type issuanceFailure struct {
	err  error
	when time.Time
}

// New returns a Manager with no certificates. [Manager.Bind] has to give it its engine, and
// [Manager.Attach] a config.
func New() *Manager {
	return &Manager{
		attached: make(chan struct{}),
		pursued:  make(chan struct{}, maxPursued),
		kept:     make(map[keptCertificate]*pursuit),
		looked:   make(map[keptCertificate]<-chan struct{}),
		failures: make(map[keptCertificate]issuanceFailure),
	}
}

// Attach makes h what certificates are obtained with. What was being obtained with
// the config before is begun anew, after the pause that it would have had, or some of it.
func (c *Manager) Attach(h *CaddyConfig) {
	// One step, or a host that is forgotten meanwhile would be looked after again.
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.config == h {
		return
	}
	c.config = h
	if c.pools == nil {
		var renewal, ocsp time.Duration
		if h.tls != nil && h.tls.Automation != nil {
			renewal, ocsp = time.Duration(h.tls.Automation.RenewCheckInterval), time.Duration(h.tls.Automation.OCSPCheckInterval)
		}
		c.pools = make(map[api.Issuer]*issuerPool)
		for _, issuer := range []api.Issuer{api.IssuerAuto, api.IssuerInternal} {
			c.pools[issuer] = newIssuerPool(renewal, ocsp, h.ctx.Logger().Named("certificates"),
				func(host string) (*certmagic.Config, error) { return c.configFor(issuer, host) })
		}
	}
	for k, p := range c.kept {
		p.reloaded()
		c.keep(k, p)
	}
	c.attachOnce.Do(func() { close(c.attached) })
}

// Close ends all renewals, when the engine is gone.
func (c *Manager) Close() {
	c.mu.Lock()
	pools := c.pools
	for _, p := range c.kept {
		p.end()
	}
	c.mu.Unlock()
	for _, a := range pools {
		// It waits for what is being done, which for an authority that cannot be reached
		// can be minutes.
		go a.cache.Stop()
	}
}

// pool returns the certificates of an issuer and the config that is running, which may
// be nil before the first has started.
func (c *Manager) pool(issuer api.Issuer) (*issuerPool, *CaddyConfig) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pools[issuer], c.config
}

// Current returns the config that is running, or nil before the first has started.
func (c *Manager) Current() *CaddyConfig {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.config
}

// configFor returns how the certificate of a host is obtained: by the issuers that
// Caddy's policy for it has, or by the internal one.
func (c *Manager) configFor(issuer api.Issuer, host string) (*certmagic.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h, a := c.config, c.pools[issuer]
	policy := policyFor(h.tls, host)
	key := configKey{issuer, policy}
	if config := h.configs[key]; config != nil {
		return config, nil
	}
	var issuers []certmagic.Issuer
	switch {
	case issuer == api.IssuerInternal && h.internal != nil:
		issuers = []certmagic.Issuer{h.internal}
	case issuer == api.IssuerAuto && policy != nil:
		issuers = policy.Issuers
	}
	var defaults []certmagic.Issuer
	if len(issuers) == 0 && issuer == api.IssuerAuto && h.ServesTLS() {
		// Caddy leaves it at that if it gets no certificates by itself.
		var err error
		if defaults, err = caddytls.DefaultIssuersProvisioned(h.ctx); err != nil {
			return nil, err
		}
		issuers = defaults
	}
	if len(issuers) == 0 {
		return nil, fmt.Errorf("this proxy's config has no issuer of certificates for %s", host)
	}
	config := a.newConfig(h.ctx, policy, issuers, c.onEvent(issuer))
	for _, i := range defaults {
		if setter, ok := i.(caddytls.ConfigSetter); ok {
			setter.SetConfig(config)
		}
	}
	h.configs[key] = config
	return config, nil
}

// onEvent hears what becomes of certificates, and passes it on to Caddy's events.
func (c *Manager) onEvent(issuer api.Issuer) func(context.Context, string, map[string]any) error {
	return func(ctx context.Context, event string, data map[string]any) error {
		host, _ := data["identifier"].(string)
		k := keptCertificate{issuer, host}
		switch renewal, _ := data["renewal"].(bool); {
		case event == "cert_obtaining" && renewal:
			if err := c.mayRenew(ctx, k); err != nil {
				a, _ := c.pool(issuer)
				go a.forget(host) // or it would be tried again and again
				return err
			}
		case event == "cert_failed" && errors.Is(ctx.Err(), context.Canceled):
			// Nobody wants it any more, or the next config begins anew.
		case event == "cert_failed":
			err, _ := data["error"].(error)
			c.failed(k, err)
		case event == "cert_obtained":
			c.failed(k, nil)
		}
		h := c.Current()
		if h.events == nil {
			return nil
		}
		return h.events.Emit(h.ctx, event, data).Aborted
	}
}

// mayRenew refuses to renew what nobody is served with any more.
func (c *Manager) mayRenew(ctx context.Context, k keptCertificate) error {
	if ctx.Value(wantedKey{}) != nil || c.engine.NeedsCertificate(k.host, k.issuer) {
		return nil
	}
	site, ok := c.engine.TLSName(k.host)
	if !ok || site.Allow == nil || site.Issuer != k.issuer {
		return fmt.Errorf("%s is not deployed with such a certificate any more", k.host)
	}
	if err := site.Allow(ctx); errors.Is(err, proxy.ErrNoCertificate) {
		return err
	}
	return nil
}

// failed remembers why a certificate could not be obtained; nil if it was.
func (c *Manager) failed(k keptCertificate, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		delete(c.failures, k)
		return
	}
	if len(c.failures) > maxRemembered {
		clear(c.failures)
	}
	c.failures[k] = issuanceFailure{err, time.Now()}
}

// maxRemembered bounds what is remembered of names, which clients can make up.
const maxRemembered = 20_000

func (c *Manager) failure(k keptCertificate) issuanceFailure {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failures[k]
}

// Check implements [proxy.Certifier].
func (c *Manager) Check(host string, issuer api.Issuer) error {
	h := c.Current()
	if h == nil {
		return &api.Error{Code: api.CodeStopping, Message: "the proxy is just starting"}
	}
	return h.check(host, issuer)
}

// siteCertificatePause is how often it is looked whether Caddy has the certificate of a
// site by now.
const siteCertificatePause = 250 * time.Millisecond

// Certify implements [proxy.Certifier].
func (c *Manager) Certify(ctx context.Context, host string, issuer api.Issuer) (api.Certificate, error) {
	a, h := c.pool(issuer)
	own := h.ownCertificate(host)
	for own.Empty() && h.hasSite(host) {
		// Caddy gets it, and may have begun just now.
		select {
		case <-time.After(siteCertificatePause):
			h = c.Current() // there may have been a reload
			own = h.ownCertificate(host)
		case <-ctx.Done():
			return api.Certificate{}, context.Cause(ctx)
		}
	}
	if !own.Empty() {
		return api.DescribeCertificate(host, own.Leaf), nil
	}
	certificate, err := a.obtain(ctx, host)
	switch {
	case err != nil && ctx.Err() != nil:
		return api.Certificate{}, context.Cause(ctx)
	case err != nil:
		return api.Certificate{}, explainIssuance(host, err)
	}
	return api.DescribeCertificate(host, certificate.Leaf), nil
}

// lookTimeout bounds how long a request waits until it is known whether there is a
// certificate. Storage may be remote.
const lookTimeout = 5 * time.Second

// HasCertificate implements [proxy.Certifier]. After a start, a certificate may still wait
// for its turn to be loaded from storage.
func (c *Manager) HasCertificate(host string, issuer api.Issuer) bool {
	a, h := c.pool(issuer)
	if h == nil {
		return false // nor is it known yet which port to send anybody to
	}
	if !h.ownCertificate(host).Empty() || !a.cached(host).Empty() {
		return true
	}
	<-c.look(a, h, keptCertificate{issuer, host})
	return !a.cached(host).Empty()
}

// look loads a certificate from storage, if there is one, the first time that it is called
// for it: whoever is served before there is one would otherwise cost a look each. What it
// returns is closed when that has been done, or takes too long: a storage may hang.
func (c *Manager) look(a *issuerPool, h *CaddyConfig, k keptCertificate) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	looked := c.looked[k]
	if looked == nil {
		if len(c.looked) > maxRemembered {
			clear(c.looked)
		}
		ctx, cancel := context.WithTimeout(h.ctx, lookTimeout)
		looked = ctx.Done()
		c.looked[k] = looked
		go func() {
			defer cancel()
			_, _ = a.load(ctx, k.host)
		}()
	}
	return looked
}

// Certificate implements [proxy.Certifier].
func (c *Manager) Certificate(host string, issuer api.Issuer) api.Certificate {
	described := api.Certificate{Host: host}
	a, h := c.pool(issuer)
	if h == nil {
		return described
	}
	leaf := h.ownCertificate(host).Leaf
	if leaf == nil {
		leaf = a.cached(host).Leaf
	}
	if leaf != nil {
		described = api.DescribeCertificate(host, leaf)
	}
	if f := c.failure(keptCertificate{issuer, host}); f.err != nil {
		described.Error, _ = issuanceReason(host, f.err)
	}
	return described
}
