package parachute

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"

	"github.com/parachute-proxy/parachute/internal/proxy"
)

// dnsHint says how to get certificates for wildcards.
const dnsHint = "build the proxy with the plugin of your DNS provider, as in: xcaddy build --with github.com/parachute-proxy/parachute --with github.com/caddy-dns/PROVIDER; then start it with --acme-dns"

// check returns why a host cannot have a certificate, without asking anybody.
func (h *certificateHost) check(host string, issuer proxy.Issuer) error {
	refuse := func(hint, format string, args ...any) error {
		return &proxy.Error{Code: proxy.CodeInvalid, Message: fmt.Sprintf(format, args...), Hint: hint}
	}
	if !h.servesTLS() {
		return refuse("start it with --https-port", "this proxy serves no HTTPS")
	}
	if !h.ownCertificate(host).Empty() {
		return nil
	}
	if h.hasSite(host) {
		return nil // Caddy gets its certificate
	}
	if !h.asksUs(host) {
		return refuse("add to a site for all names: tls { get_certificate parachute }",
			"the config of this Caddy does not ask parachute for the certificate of %s", host)
	}
	policy := policyFor(h.tls, host)
	if issuer == proxy.IssuerInternal {
		if h.internal == nil {
			return refuse("add a global option to the config: pki { ca local }", "this Caddy has no certificate authority of its own")
		}
		return nil
	}
	if strings.HasPrefix(host, "*.") && !slices.ContainsFunc(policy.Issuers, issuesWildcards) {
		return refuse(dnsHint, "a certificate for the wildcard %s is issued only to who controls its DNS", host)
	}
	if !certmagic.SubjectQualifiesForPublicCert(host) && !slices.ContainsFunc(policy.Issuers, isPrivate) {
		return refuse("for development, use --tls=internal", "no public certificate authority issues certificates for %s", host)
	}
	return nil
}

// ownCertificate returns the certificate that the config itself has for a host, and
// that Caddy therefore serves before it asks us, or an empty one.
func (h *certificateHost) ownCertificate(host string) certmagic.Certificate {
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

// asksUs reports whether Caddy asks parachute for the certificate of a host.
func (h *certificateHost) asksUs(host string) bool {
	return h != nil && asksUs(policyFor(h.tls, host))
}

// hasSite reports whether the config has a site for exactly this host, whose
// certificate Caddy gets by itself.
func (h *certificateHost) hasSite(host string) bool {
	if h.http == nil || h.asksUs(host) {
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

// retryAfter is how Let's Encrypt says when a limit ends.
var retryAfter = regexp.MustCompile(`retry after ([0-9][0-9TZ :.+-]*[0-9TZ](?: UTC)?)`)

// maxDetail bounds what is repeated of what an authority says, in bytes: the end of it
// is often the point.
const maxDetail = 600

// explainIssuance says why a certificate could not be obtained, in the authority's
// own words, and what to do about it (RFC 8555, section 6.7).
func explainIssuance(host string, err error) *proxy.Error {
	explained := &proxy.Error{
		Code:    proxy.CodeCertificate,
		Message: fmt.Sprintf("no certificate for %s: %s", host, proxy.Printable(innermost(err).Error())),
		Hint:    "see the proxy's log; --tls-wait=false deploys without waiting for the certificate",
	}
	var problem acme.Problem
	if !errors.As(err, &problem) {
		_, isNet := errors.AsType[net.Error](err)
		_, isURL := errors.AsType[*url.Error](err)
		if isNet || isURL {
			explained.Message = fmt.Sprintf("no certificate for %s: the certificate authority cannot be reached: %s", host, proxy.Printable(innermost(err).Error()))
			explained.Hint = "check the proxy's way to the internet, and --acme-ca; --tls-wait=false deploys without waiting for the certificate"
		}
		return explained
	}
	detail := problem.Detail
	for _, sub := range problem.Subproblems {
		detail += "; " + sub.Detail
	}
	kind := strings.TrimPrefix(problem.Type, acme.ProblemTypeNamespace)
	explained.Message = fmt.Sprintf("no certificate for %s: the certificate authority says: %s (%s)", host, proxy.PrintableUpTo(detail, maxDetail), proxy.Printable(kind))
	explained.Hint = problemHint(host, kind, detail)
	return explained
}

func problemHint(host, kind, detail string) string {
	if kind == "malformed" && strings.Contains(detail, "resolv") {
		kind = "dns"
	}
	switch kind {
	case "dns":
		return "the name does not resolve: give " + host + " an A or AAAA record with the address of this machine"
	case "connection", "tls":
		return "the authority has to reach this machine under " + host + ": check its DNS record, and that the ports 80 and 443 are open to the internet and lead here"
	case "unauthorized":
		return "something else answers for " + host + ": check that its DNS record leads to this machine and not to another server or a CDN"
	case "caa":
		return "a CAA record of the domain forbids this authority: allow it there, or choose another with --acme-ca"
	case "rateLimited":
		hint := "while you try things out, start the proxy with --tls-staging, which has no such limits"
		if when := retryAfter.FindStringSubmatch(detail); when != nil {
			hint = "the limit ends at " + strings.TrimSpace(when[1]) + "; " + hint
		}
		return hint
	case "rejectedIdentifier", "unsupportedIdentifier":
		return "this authority issues no certificates for that name; check its spelling, or choose another with --acme-ca"
	case "externalAccountRequired", "unauthorizedAccount":
		return "the authority wants an account: see --acme-eab-key-id and --acme-eab-mac-key"
	case "serverInternal":
		return "the authority is unwell: try again later, or deploy with --tls-wait=false"
	}
	return "see the proxy's log; --tls-wait=false deploys without waiting for the certificate"
}

// innermost returns the error that began a chain.
func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
