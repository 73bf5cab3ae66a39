package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

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
)

// Get returns the certificate for a handshake, or nil if no service was deployed with
// TLS for its name.
func (c *Manager) Get(ctx context.Context, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
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
	a, _ := c.pool(site.Issuer)
	if cached := a.cached(site.Host); !cached.Empty() && (site.Allow == nil || !cached.Expired()) {
		return &cached.Certificate, nil
	}
	// What is begun for a client is finished though it goes away: others wait for it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handshakeTimeout)
	defer cancel()
	if site.Allow != nil {
		return c.onDemand(ctx, a, site)
	}
	stored, err := a.load(ctx, site.Host)
	if err != nil {
		// As an error, Caddy would log it for every handshake. Status shows it.
		c.debug("no certificate for a TLS handshake", site.Host, err)
		return nil, nil
	}
	return &stored.Certificate, nil
}

func (c *Manager) debug(message, host string, err error) {
	if entry := c.Current().ctx.Logger().Check(zapcore.DebugLevel, message); entry != nil {
		entry.Write(zap.String("host", host), zap.Error(err))
	}
}

// siteFor returns what a handshake is answered with. One without a name is about the
// address that it came to or, failing that, about the first host.
func (c *Manager) siteFor(hello *tls.ClientHelloInfo) (proxy.TLSName, bool) {
	if hello.ServerName != "" {
		return c.engine.TLSName(hello.ServerName)
	}
	if hello.Conn != nil {
		ip, _, err := net.SplitHostPort(hello.Conn.LocalAddr().String())
		if site, ok := c.engine.TLSName(ip); err == nil && ok && site.Allow == nil {
			return site, true
		}
	}
	return c.engine.DefaultTLSName()
}

// onDemand returns the certificate of a name that has none in memory, if the one who
// knows allows it. One that is in storage was allowed once: silence does not take it
// away.
func (c *Manager) onDemand(ctx context.Context, a *issuerPool, site proxy.TLSName) (*tls.Certificate, error) {
	if !certmagic.SubjectQualifiesForCert(site.Host) || strings.Contains(site.Host, "*") {
		return nil, nil
	}
	allowed := site.Allow(ctx)
	if errors.Is(allowed, proxy.ErrNoCertificate) {
		return nil, nil
	}
	stored, err := a.load(ctx, site.Host)
	if err == nil && !stored.Expired() {
		return &stored.Certificate, nil
	}
	if allowed != nil {
		c.debug("the on-demand URL cannot be asked whether a name may have a certificate", site.Host, allowed)
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
