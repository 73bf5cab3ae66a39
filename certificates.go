package parachute

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/parachute-proxy/parachute/internal/proxy"
)

const (
	// handshakeTimeout bounds how long a handshake waits for a certificate that has to
	// be obtained first.
	handshakeTimeout = 90 * time.Second
	// onDemandPause is how long a name whose certificate could not be obtained on
	// demand is not tried again: authorities limit failures.
	onDemandPause = 5 * time.Minute
	// siteCertificatePause is how often it is looked whether Caddy has the certificate
	// of a site by now.
	siteCertificatePause = 250 * time.Millisecond
)

// certificates gets the certificates of deployed hosts by Caddy's issuers and keeps
// them. Like the engine, whose [proxy.Certifier] it is, it outlives reloads.
type certificates struct {
	engine *proxy.Engine
	// attached is closed when there is a config to work with.
	attached   chan struct{}
	attachOnce sync.Once

	// pursued bounds the certificates that are obtained in the background at a time.
	pursued chan struct{}

	// mu guards what follows.
	mu sync.Mutex
	// host is the config that is running.
	host        *certificateHost
	authorities map[proxy.Issuer]*authority
	// kept are the certificates to look after, with what ends that.
	kept map[keptCertificate]context.CancelFunc
	// failures are the last ones, by certificate.
	failures map[keptCertificate]issuanceFailure
}

type keptCertificate struct {
	issuer proxy.Issuer
	host   string
}

type issuanceFailure struct {
	err  error
	when time.Time
}

// certificateHost is what a config of Caddy's has for certificates.
type certificateHost struct {
	ctx    caddy.Context
	tls    *caddytls.TLS  // nil if the config has no TLS app
	http   *caddyhttp.App // nil if it has no HTTP app
	events *caddyevents.App
	// internal is the issuer of Caddy's own authority; nil without one.
	internal certmagic.Issuer

	// configs are made when they are needed, and guarded by certificates.mu.
	configs map[configKey]*certmagic.Config
}

type configKey struct {
	issuer proxy.Issuer
	policy *caddytls.AutomationPolicy
}

func newCertificates() *certificates {
	return &certificates{
		attached: make(chan struct{}),
		pursued:  make(chan struct{}, maxPursued),
		kept:     make(map[keptCertificate]context.CancelFunc),
		failures: make(map[keptCertificate]issuanceFailure),
	}
}

// newCertificateHost looks at the apps of a config that has been provisioned.
func newCertificateHost(ctx caddy.Context) *certificateHost {
	h := &certificateHost{ctx: ctx, configs: make(map[configKey]*certmagic.Config)}
	if app, err := ctx.AppIfConfigured("tls"); err == nil {
		h.tls = app.(*caddytls.TLS)
	}
	if app, err := ctx.AppIfConfigured("http"); err == nil {
		h.http = app.(*caddyhttp.App)
	}
	if app, err := ctx.AppIfConfigured("events"); err == nil {
		h.events = app.(*caddyevents.App)
	}
	if _, err := ctx.AppIfConfigured("pki"); err == nil {
		issuer := new(caddytls.InternalIssuer)
		if err := issuer.Provision(ctx); err == nil {
			h.internal = issuer
		}
	}
	return h
}

// servesTLS reports whether any server of the config takes TLS connections.
func (h *certificateHost) servesTLS() bool {
	if h.tls == nil || h.http == nil {
		return false
	}
	for _, s := range h.http.Servers {
		if len(s.TLSConnPolicies) > 0 {
			return true
		}
	}
	return false
}

// attach makes h what certificates are obtained with. What was being obtained with
// the config before is begun anew.
func (c *certificates) attach(h *certificateHost) {
	c.mu.Lock()
	c.host = h
	if c.authorities == nil {
		var renewal, ocsp time.Duration
		if h.tls != nil && h.tls.Automation != nil {
			renewal, ocsp = time.Duration(h.tls.Automation.RenewCheckInterval), time.Duration(h.tls.Automation.OCSPCheckInterval)
		}
		c.authorities = make(map[proxy.Issuer]*authority)
		for _, issuer := range []proxy.Issuer{proxy.IssuerAuto, proxy.IssuerInternal} {
			c.authorities[issuer] = newAuthority(renewal, ocsp, h.ctx.Logger().Named("certificates"),
				func(host string) (*certmagic.Config, error) { return c.configFor(issuer, host) })
		}
	}
	var again []keptCertificate
	for k, end := range c.kept {
		end()
		again = append(again, k)
	}
	c.mu.Unlock()
	c.attachOnce.Do(func() { close(c.attached) })
	for _, k := range again {
		c.Keep(k.host, k.issuer)
	}
}

// close ends all renewals, when the engine is gone.
func (c *certificates) close() {
	c.mu.Lock()
	authorities := c.authorities
	for _, end := range c.kept {
		end()
	}
	c.mu.Unlock()
	for _, a := range authorities {
		// It waits for what is being done, which for an authority that cannot be reached
		// can be minutes.
		go a.cache.Stop()
	}
}

// authority returns the authority for an issuer and the config that is running,
// which may be nil before the first has started.
func (c *certificates) authority(issuer proxy.Issuer) (*authority, *certificateHost) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.authorities[issuer], c.host
}

// running returns the config that is running, or nil before the first has started.
func (c *certificates) running() *certificateHost {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.host
}

// configFor returns how the certificate of a host is obtained: by the issuers that
// Caddy's policy for it has, or by the internal one.
func (c *certificates) configFor(issuer proxy.Issuer, host string) (*certmagic.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h, a := c.host, c.authorities[issuer]
	policy := policyFor(h.tls, host)
	key := configKey{issuer, policy}
	if config := h.configs[key]; config != nil {
		return config, nil
	}
	var issuers []certmagic.Issuer
	switch {
	case issuer == proxy.IssuerInternal && h.internal != nil:
		issuers = []certmagic.Issuer{h.internal}
	case issuer == proxy.IssuerAuto && policy != nil:
		issuers = policy.Issuers
	}
	var defaults []certmagic.Issuer
	if len(issuers) == 0 && issuer == proxy.IssuerAuto && h.servesTLS() {
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
func (c *certificates) onEvent(issuer proxy.Issuer) func(context.Context, string, map[string]any) error {
	return func(ctx context.Context, event string, data map[string]any) error {
		host, _ := data["identifier"].(string)
		k := keptCertificate{issuer, host}
		switch renewal, _ := data["renewal"].(bool); {
		case event == "cert_obtaining" && renewal:
			if err := c.mayRenew(ctx, k); err != nil {
				a, _ := c.authority(issuer)
				go a.forget(host) // or it would be tried again and again
				return err
			}
		case event == "cert_failed":
			err, _ := data["error"].(error)
			c.failed(k, err)
		case event == "cert_obtained":
			c.failed(k, nil)
		}
		_, h := c.authority(issuer)
		if h.events == nil {
			return nil
		}
		return h.events.Emit(h.ctx, event, data).Aborted
	}
}

// mayRenew refuses to renew what nobody is served with any more.
func (c *certificates) mayRenew(ctx context.Context, k keptCertificate) error {
	if ctx.Value(wantedKey{}) != nil || c.engine.NeedsCertificate(k.host, k.issuer) {
		return nil
	}
	site, ok := c.engine.TLSSite(k.host)
	if !ok || !site.OnDemand || site.Issuer != k.issuer {
		return fmt.Errorf("%s is not deployed with such a certificate any more", k.host)
	}
	if err := c.engine.AllowCertificate(ctx, site.Service, k.host); errors.Is(err, proxy.ErrNoCertificate) {
		return err
	}
	return nil
}

// failed remembers why a certificate could not be obtained; nil if it was.
func (c *certificates) failed(k keptCertificate, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		delete(c.failures, k)
		return
	}
	if len(c.failures) > maxFailures {
		clear(c.failures)
	}
	c.failures[k] = issuanceFailure{err, time.Now()}
}

// maxFailures bounds what is remembered of names that are asked for on demand.
const maxFailures = 20_000

func (c *certificates) failure(k keptCertificate) issuanceFailure {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failures[k]
}

// Check implements [proxy.Certifier].
func (c *certificates) Check(host string, issuer proxy.Issuer) error {
	_, h := c.authority(issuer)
	if h == nil {
		return &proxy.Error{Code: proxy.CodeStopping, Message: "the proxy is just starting"}
	}
	return h.check(host, issuer)
}

// Certify implements [proxy.Certifier].
func (c *certificates) Certify(ctx context.Context, host string, issuer proxy.Issuer) (proxy.Certificate, error) {
	a, h := c.authority(issuer)
	own := h.ownCertificate(host)
	for own.Empty() && h.hasSite(host) {
		// Caddy gets it, and may have begun just now.
		select {
		case <-time.After(siteCertificatePause):
			h = c.running() // there may have been a reload
			own = h.ownCertificate(host)
		case <-ctx.Done():
			return proxy.Certificate{}, context.Cause(ctx)
		}
	}
	if !own.Empty() {
		return proxy.DescribeCertificate(host, own.Leaf), nil
	}
	certificate, err := a.obtain(ctx, host)
	switch {
	case err != nil && ctx.Err() != nil:
		return proxy.Certificate{}, context.Cause(ctx)
	case err != nil:
		return proxy.Certificate{}, explainIssuance(host, err)
	}
	return proxy.DescribeCertificate(host, certificate.Leaf), nil
}

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
		if ctx.Err() != nil || !h.ownCertificate(host).Empty() || h.hasSite(host) || a.keep(ctx, host) == nil {
			return
		}
		go c.pursue(ctx, a, k)
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

// Certificate implements [proxy.Certifier].
func (c *certificates) Certificate(host string, issuer proxy.Issuer) proxy.Certificate {
	described := proxy.Certificate{Host: host}
	a, h := c.authority(issuer)
	if h == nil {
		return described
	}
	leaf := h.ownCertificate(host).Leaf
	if leaf == nil {
		leaf = a.cached(host).Leaf
	}
	if leaf != nil {
		described = proxy.DescribeCertificate(host, leaf)
	}
	if f := c.failure(keptCertificate{issuer, host}); f.err != nil {
		described.Error = explainIssuance(host, f.err).Message
	}
	return described
}

// get returns the certificate for a handshake, or nil if no service was deployed with
// TLS for its name.
func (c *certificates) get(ctx context.Context, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	select {
	case <-c.attached:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	site, ok := c.siteFor(hello)
	switch {
	case !ok:
		return nil, nil
	case site.Certificate != nil:
		return site.Certificate, nil
	}
	a, _ := c.authority(site.Issuer)
	if cached := a.cached(site.Host); !cached.Empty() && (!site.OnDemand || !cached.Expired()) {
		return &cached.Certificate, nil
	}
	// What is begun for a client is finished though it goes away: others wait for it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handshakeTimeout)
	defer cancel()
	if site.OnDemand {
		return c.onDemand(ctx, a, site)
	}
	stored, err := a.load(ctx, site.Host)
	if err != nil {
		// As an error, Caddy would log it for every handshake. Status shows it.
		c.debug("there is no certificate for a handshake", site.Host, err)
		return nil, nil
	}
	return &stored.Certificate, nil
}

func (c *certificates) debug(message, host string, err error) {
	if entry := c.running().ctx.Logger().Check(zapcore.DebugLevel, message); entry != nil {
		entry.Write(zap.String("host", host), zap.Error(err))
	}
}

// siteFor returns what a handshake is answered with. One without a name is about the
// address that it came to or, failing that, about the first host.
func (c *certificates) siteFor(hello *tls.ClientHelloInfo) (proxy.TLSSite, bool) {
	if hello.ServerName != "" {
		return c.engine.TLSSite(hello.ServerName)
	}
	if hello.Conn != nil {
		ip, _, err := net.SplitHostPort(hello.Conn.LocalAddr().String())
		if site, ok := c.engine.TLSSite(ip); err == nil && ok && !site.OnDemand {
			return site, true
		}
	}
	return c.engine.DefaultTLSSite()
}

// onDemand returns the certificate of a name that has none in memory, if the one who
// knows allows it. One that is in storage was allowed once: silence does not take it
// away.
func (c *certificates) onDemand(ctx context.Context, a *authority, site proxy.TLSSite) (*tls.Certificate, error) {
	if !certmagic.SubjectQualifiesForCert(site.Host) || strings.Contains(site.Host, "*") {
		return nil, nil
	}
	allowed := c.engine.AllowCertificate(ctx, site.Service, site.Host)
	if errors.Is(allowed, proxy.ErrNoCertificate) {
		return nil, nil
	}
	stored, err := a.load(ctx, site.Host)
	if err == nil && !stored.Expired() {
		return &stored.Certificate, nil
	}
	if allowed != nil {
		c.debug("nobody to ask whether a name may have a certificate", site.Host, allowed)
		return nil, nil
	}
	if f := c.failure(keptCertificate{site.Issuer, site.Host}); f.err != nil && time.Since(f.when) < onDemandPause {
		return nil, fmt.Errorf("the certificate for %s could not be obtained just now: %w", site.Host, f.err)
	}
	obtained, err := a.obtain(ctx, site.Host)
	if err != nil {
		return nil, err
	}
	return &obtained.Certificate, nil
}
