package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// issuerPool keeps the certificates of one kind of issuer in memory, and renews them
// in time. Its own cache makes it possible to forget a host; Caddy's TLS app can only
// add to its.
type issuerPool struct {
	cache *certmagic.Cache
	// configFor says how the certificate of a host is obtained and renewed.
	configFor func(host string) (*certmagic.Config, error)
}

// newIssuerPool returns a pool without certificates, which checks for renewals in the given intervals,
// or in those that certmagic has by default if they are 0.
func newIssuerPool(renewal, ocsp time.Duration, logger *zap.Logger, configFor func(host string) (*certmagic.Config, error)) *issuerPool {
	return &issuerPool{configFor: configFor, cache: certmagic.NewCache(certmagic.CacheOptions{
		RenewCheckInterval: renewal, OCSPCheckInterval: ocsp, Logger: logger,
		GetConfigForCert: func(c certmagic.Certificate) (*certmagic.Config, error) { return configFor(c.Names[0]) },
	})}
}

// cached returns the newest certificate for exactly host, or an empty one.
func (a *issuerPool) cached(host string) certmagic.Certificate {
	var newest certmagic.Certificate
	for _, c := range a.cache.AllMatchingCertificates(host) {
		if c.Leaf != nil && slices.Contains(c.Names, host) && (newest.Empty() || c.Leaf.NotAfter.After(newest.Leaf.NotAfter)) {
			newest = c
		}
	}
	return newest
}

// load returns the certificate of host, from memory or from storage. The error is
// [fs.ErrNotExist] if there is none.
func (a *issuerPool) load(ctx context.Context, host string) (certmagic.Certificate, error) {
	if c := a.cached(host); !c.Empty() {
		return c, nil
	}
	config, err := a.configFor(host)
	if err != nil {
		return certmagic.Certificate{}, err
	}
	return config.CacheManagedCertificate(ctx, host)
}

// obtain returns the certificate of host, trying once to have one issued if there is
// none that is valid.
func (a *issuerPool) obtain(ctx context.Context, host string) (certmagic.Certificate, error) {
	config, err := a.configFor(host)
	if err != nil {
		return certmagic.Certificate{}, err
	}
	c, err := a.load(ctx, host)
	expired := err == nil && c.Expired()
	switch {
	case err == nil && !expired:
		return c, nil // in time, it is renewed in the background
	case err != nil && !errors.Is(err, fs.ErrNotExist) && !discard(ctx, config, host):
		return c, fmt.Errorf("loading the certificate from storage: %w", err)
	}
	done, err := awaitAccount(ctx, config)
	if err != nil {
		return certmagic.Certificate{}, err
	}
	defer done()
	once := *config
	once.Issuers = nil
	for _, issuer := range config.Issuers {
		once.Issuers = append(once.Issuers, oneAttempt{issuer})
	}
	// The variants that try once by themselves ask for an email address on the
	// terminal.
	ctx = context.WithValue(ctx, wantedKey{}, true)
	if expired {
		err = once.RenewCertAsync(ctx, host, false)
	} else {
		err = once.ObtainCertAsync(ctx, host)
	}
	if err != nil {
		return certmagic.Certificate{}, err
	}
	a.forget(host) // what has expired
	return config.CacheManagedCertificate(ctx, host)
}

// wantedKey is the key of the contexts in which somebody wants a certificate, be the
// host deployed or about to be.
type wantedKey struct{}

// discard removes the certificate of host from storage if there is one that makes no
// sense, so that another can be obtained, and reports whether it did. What cannot even
// be loaded stays: the storage may recover.
func discard(ctx context.Context, config *certmagic.Config, host string) (discarded bool) {
	for _, issuer := range config.Issuers {
		paths := []string{
			certmagic.StorageKeys.SiteCert(issuer.IssuerKey(), host),
			certmagic.StorageKeys.SitePrivateKey(issuer.IssuerKey(), host),
			certmagic.StorageKeys.SiteMeta(issuer.IssuerKey(), host),
		}
		certificate, err := config.Storage.Load(ctx, paths[0])
		if err != nil {
			continue
		}
		key, err := config.Storage.Load(ctx, paths[1])
		if err != nil {
			continue
		}
		about, err := config.Storage.Load(ctx, paths[2])
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		_, pairErr := tls.X509KeyPair(certificate, key)
		if err == nil && pairErr == nil && json.Valid(about) {
			continue
		}
		config.Logger.Warn("discarding a stored certificate that cannot be used", zap.String("host", host), zap.Error(errors.Join(err, pairErr)))
		for _, path := range paths {
			if err := config.Storage.Delete(ctx, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				config.Logger.Error("discarding a stored certificate", zap.String("host", host), zap.Error(err))
				return false
			}
		}
		discarded = true
	}
	return discarded
}

// forget ends the renewal of the certificate of host.
func (a *issuerPool) forget(host string) {
	a.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: host}})
}

// oneAttempt is an issuer whose failures are final.
type oneAttempt struct{ certmagic.Issuer }

// Issue implements certmagic.Issuer.
func (o oneAttempt) Issue(ctx context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	if attempts, ok := ctx.Value(certmagic.AttemptsCtxKey).(*int); ok && *attempts > 0 {
		// It was issued, and something else went wrong: another order would not help.
		return nil, certmagic.ErrNoRetry{Err: errNotStored}
	}
	issued, err := o.Issuer.Issue(ctx, csr)
	if err != nil {
		return nil, certmagic.ErrNoRetry{Err: err}
	}
	return issued, nil
}

var errNotStored = errors.New("the certificate was issued, but could not be stored: check the free space and the permissions of the storage directory")

// PreCheck implements certmagic.PreChecker.
func (o oneAttempt) PreCheck(ctx context.Context, names []string, _ bool) error {
	checker, ok := o.Issuer.(certmagic.PreChecker)
	if !ok {
		return nil
	}
	if err := checker.PreCheck(ctx, names, false); err != nil {
		return certmagic.ErrNoRetry{Err: err}
	}
	return nil
}

// policyFor returns the automation policy that Caddy applies to a host, or nil.
func policyFor(app *caddytls.TLS, host string) *caddytls.AutomationPolicy {
	if app == nil || app.Automation == nil {
		return nil
	}
	for _, p := range app.Automation.Policies {
		if len(p.Subjects()) == 0 {
			return p
		}
		for _, subject := range p.Subjects() {
			if subject == host || certmagic.MatchWildcard(host, subject) {
				return p
			}
		}
	}
	return nil
}

// newConfig returns how certificates are obtained: as a policy says, but by issuers,
// and whether or not anybody asks for them in a handshake.
func (a *issuerPool) newConfig(ctx caddy.Context, p *caddytls.AutomationPolicy, issuers []certmagic.Issuer, onEvent func(context.Context, string, map[string]any) error) *certmagic.Config {
	config := certmagic.Config{
		Issuers: issuers,
		Storage: ctx.Storage(),
		Logger:  ctx.Logger(),
		OnEvent: onEvent,
	}
	if p != nil {
		config.MustStaple = p.MustStaple
		config.RenewalWindowRatio = p.RenewalWindowRatio
		config.ReusePrivateKeys = p.ReusePrivateKeys
		config.OCSP = certmagic.OCSPConfig{DisableStapling: p.DisableOCSPStapling, ResponderOverrides: p.OCSPOverrides}
		if p.KeyType != "" {
			config.KeySource = certmagic.StandardKeyGenerator{KeyType: certmagic.KeyType(caddy.NewReplacer().ReplaceAll(p.KeyType, ""))}
		}
	}
	return certmagic.New(a.cache, config)
}
