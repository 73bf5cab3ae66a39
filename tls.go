package parachute

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/certmagic"

	"github.com/parachute-proxy/parachute/internal/proxy"
)

// CertificateGetter has Caddy serve the certificates of hosts that are deployed with
// TLS. `parachute run` configures it; in a Caddyfile, it belongs into a site for all
// names:
//
//	https:// {
//		tls {
//			get_certificate parachute
//		}
//		parachute
//	}
//
// Certificates that the config itself has for a name come first.
type CertificateGetter struct {
	app *App
	ctx caddy.Context
}

// CaddyModule returns the Caddy module information.
func (CertificateGetter) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.get_certificate.parachute", New: func() caddy.Module { return new(CertificateGetter) }}
}

// Provision finds the app, which need not be configured.
func (g *CertificateGetter) Provision(ctx caddy.Context) error {
	app, err := ctx.App("parachute")
	if err != nil {
		return err
	}
	g.app, g.ctx = app.(*App), ctx
	return nil
}

// GetCertificate implements certmagic.Manager.
func (g *CertificateGetter) GetCertificate(ctx context.Context, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	certificate, err := g.app.certificates.Get(ctx, hello)
	if certificate != nil || err != nil || g.restricted() {
		return certificate, err
	}
	// Caddy would go on and get a certificate for any name at all.
	return nil, errNotDeployed
}

// isCertificateGetter reports whether a source of certificates is a [CertificateGetter].
func isCertificateGetter(m certmagic.Manager) bool {
	_, ours := m.(*CertificateGetter)
	return ours
}

var errNotDeployed = errors.New("no service is deployed with TLS for this name")

// restricted reports whether the config says who may have certificates on demand.
func (g *CertificateGetter) restricted() bool {
	app, err := g.ctx.AppIfConfigured("tls")
	if err != nil {
		return false
	}
	automation := app.(*caddytls.TLS).Automation
	return automation != nil && automation.OnDemand != nil
}

// UnmarshalCaddyfile parses the certificate source of the tls directive:
//
//	get_certificate parachute
func (*CertificateGetter) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return noArguments(d)
}

// Permission lets Caddy get certificates on demand for hosts that are deployed with
// TLS, and for no others.
type Permission struct {
	app *App
}

// CaddyModule returns the Caddy module information.
func (Permission) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.permission.parachute", New: func() caddy.Module { return new(Permission) }}
}

// Provision finds the app, which need not be configured.
func (p *Permission) Provision(ctx caddy.Context) error {
	app, err := ctx.App("parachute")
	if err != nil {
		return err
	}
	p.app = app.(*App)
	return nil
}

// CertificateAllowed implements caddytls.OnDemandPermission. Where Caddy asks us for
// certificates, it is not for Caddy to get them as well.
func (p *Permission) CertificateAllowed(ctx context.Context, name string) error {
	site, ok := p.app.engine.TLSName(name)
	if ok && site.Certificate == nil && !p.app.certificates.Current().AsksParachute(name) {
		if site.Allow == nil {
			return nil
		}
		if err := site.Allow(ctx); !errors.Is(err, proxy.ErrNoCertificate) {
			return err
		}
	}
	return fmt.Errorf("%s: %w", name, caddytls.ErrPermissionDenied)
}

// UnmarshalCaddyfile parses the global option:
//
//	on_demand_tls {
//		permission parachute
//	}
func (*Permission) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return noArguments(d)
}

// ClientAuthMatcher matches connections whose clients are to be asked for a certificate: those
// for a name of a service that is deployed with authorities for its clients. `parachute run` has
// a policy with it, in which clients are asked and nothing is verified: the certificate of a
// client is verified with each request, when it is known which service that is for.
type ClientAuthMatcher struct {
	app *App
}

// CaddyModule returns the Caddy module information.
func (ClientAuthMatcher) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.handshake_match.parachute_client_auth", New: func() caddy.Module { return new(ClientAuthMatcher) }}
}

// Provision finds the app, which need not be configured.
func (m *ClientAuthMatcher) Provision(ctx caddy.Context) error {
	app, err := ctx.App("parachute")
	if err != nil {
		return err
	}
	m.app = app.(*App)
	return nil
}

// Match implements caddytls.ConnectionMatcher.
func (m *ClientAuthMatcher) Match(hello *tls.ClientHelloInfo) bool {
	return m.app.engine.AsksForCertificate(hello.ServerName)
}

func noArguments(d *caddyfile.Dispenser) error {
	d.Next() // consume the module's name
	if d.NextArg() || d.NextBlock(0) {
		return d.ArgErr()
	}
	return nil
}
