package certs

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/certmagic"

	"github.com/parachute-proxy/parachute/internal/api"
)

// CaddyConfig is what a config of Caddy's has for certificates.
type CaddyConfig struct {
	ctx    caddy.Context
	tls    *caddytls.TLS  // nil if the config has no TLS app
	http   *caddyhttp.App // nil if it has no HTTP app
	events *caddyevents.App
	// isOurs reports whether a source of certificates asks parachute for them.
	isOurs func(certmagic.Manager) bool
	// internal is the issuer of Caddy's own authority; nil without one.
	internal certmagic.Issuer

	// configs are made when they are needed, and guarded by certificates.mu.
	configs map[configKey]*certmagic.Config
}

type configKey struct {
	issuer api.Issuer
	policy *caddytls.AutomationPolicy
}

// NewCaddyConfig looks at the apps of a config that has been provisioned. isOurs
// reports whether a source of certificates asks parachute for them.
func NewCaddyConfig(ctx caddy.Context, isOurs func(certmagic.Manager) bool) *CaddyConfig {
	h := &CaddyConfig{ctx: ctx, isOurs: isOurs, configs: make(map[configKey]*certmagic.Config)}
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

// ServesTLS reports whether any server of the config takes TLS connections.
func (h *CaddyConfig) ServesTLS() bool {
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

// Ports returns the ports that the config serves HTTP and HTTPS on, which are 0 by
// default, and without servers.
func (h *CaddyConfig) Ports() (http, https int) {
	if h.http == nil {
		return 0, 0
	}
	return h.http.HTTPPort, h.http.HTTPSPort
}

// dnsHint says how to get certificates for wildcards.
const dnsHint = "build the proxy with the plugin of your DNS provider, as in: xcaddy build --with github.com/parachute-proxy/parachute --with github.com/caddy-dns/PROVIDER; then start it with --acme-dns"

// check returns why a host cannot have a certificate, without asking anybody.
func (h *CaddyConfig) check(host string, issuer api.Issuer) error {
	refuse := func(hint, format string, args ...any) error {
		return &api.Error{Code: api.CodeInvalid, Message: fmt.Sprintf(format, args...), Hint: hint}
	}
	if !h.ServesTLS() {
		return refuse("start it with --https-port", "this proxy serves no HTTPS")
	}
	if !h.ownCertificate(host).Empty() {
		return nil
	}
	if h.hasSite(host) {
		return nil // Caddy gets its certificate
	}
	if !h.AsksParachute(host) {
		return refuse("add to a site for all names: tls { get_certificate parachute }",
			"the config of this Caddy does not ask parachute for the certificate of %s", host)
	}
	policy := policyFor(h.tls, host)
	if issuer == api.IssuerInternal {
		if h.internal == nil {
			return refuse("add a global option to the config: pki { ca local }", "this Caddy has no certificate authority of its own")
		}
		return nil
	}
	if strings.HasPrefix(host, "*.") && !slices.ContainsFunc(policy.Issuers, issuesWildcards) {
		return refuse(dnsHint, "a certificate for the wildcard %s needs proof of control over its DNS", host)
	}
	if !certmagic.SubjectQualifiesForPublicCert(host) && !slices.ContainsFunc(policy.Issuers, isPrivate) {
		return refuse("for development, use --tls=internal", "no public certificate authority issues certificates for %s", host)
	}
	return nil
}

// ownCertificate returns the certificate that the config itself has for a host, and
// that Caddy therefore serves before it asks us, or an empty one.
func (h *CaddyConfig) ownCertificate(host string) certmagic.Certificate {
	// Once the config is gone, Caddy's cache may be, too.
	if h.tls == nil || h.ctx.Err() != nil || !h.tls.HasCertificateForSubject(host) {
		return certmagic.Certificate{}
	}
	for _, c := range caddytls.AllMatchingCertificates(host) {
		if c.Leaf != nil && !c.Expired() {
			return c
		}
	}
	return certmagic.Certificate{}
}

// AsksParachute reports whether Caddy asks parachute for the certificate of a host.
func (h *CaddyConfig) AsksParachute(host string) bool {
	if h == nil {
		return false
	}
	policy := policyFor(h.tls, host)
	return policy != nil && slices.ContainsFunc(policy.Managers, h.isOurs)
}

// hasSite reports whether the config has a site for exactly this host, whose
// certificate Caddy gets by itself.
func (h *CaddyConfig) hasSite(host string) bool {
	if h.http == nil || h.AsksParachute(host) {
		return false
	}
	for _, server := range h.http.Servers {
		if auto := server.AutoHTTPS; auto != nil && (auto.Disabled || auto.DisableCerts) {
			continue
		}
		for _, route := range server.Routes {
			for _, matchers := range route.MatcherSets {
				for _, matcher := range matchers {
					hosts, _ := matcher.(*caddyhttp.MatchHost)
					if hosts != nil && slices.Contains(*hosts, host) {
						return true
					}
				}
			}
		}
	}
	return false
}

// acmeIssuer is what issuers have in common that speak ACME.
type acmeIssuer interface{ GetACMEIssuer() *caddytls.ACMEIssuer }

func issuesWildcards(i certmagic.Issuer) bool {
	speaker, ok := i.(acmeIssuer)
	if !ok {
		return true
	}
	challenges := speaker.GetACMEIssuer().Challenges
	return challenges != nil && challenges.DNS != nil
}

// isPrivate reports whether an issuer may issue for names that are not public.
func isPrivate(i certmagic.Issuer) bool {
	speaker, ok := i.(acmeIssuer)
	if !ok {
		return true
	}
	ca := speaker.GetACMEIssuer().CA
	u, err := url.Parse(ca)
	return ca != "" && err == nil && !slices.ContainsFunc([]string{"letsencrypt.org", "zerossl.com", "pki.goog", "buypass.com", "ssl.com"},
		func(public string) bool { return strings.HasSuffix("."+u.Hostname(), "."+public) })
}
