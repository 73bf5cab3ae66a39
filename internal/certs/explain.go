package certs

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"

	"github.com/mholt/acmez/v3/acme"

	"github.com/parachute-proxy/parachute/internal/api"
)

// retryAfter is how Let's Encrypt says when a limit ends.
var retryAfter = regexp.MustCompile(`retry after ([0-9][0-9TZ :.+-]*[0-9TZ](?: UTC)?)`)

// maxDetail bounds what is repeated of what an authority says, in bytes: the end of it
// is often the point.
const maxDetail = 600

// explainIssuance says why a certificate could not be obtained and what to do about it.
func explainIssuance(host string, err error) *api.Error {
	reason, hint := issuanceReason(host, err)
	return (&api.Error{Code: api.CodeCertificate, Message: fmt.Sprintf("no certificate for %s: %s", host, reason)}).With(hint)
}

// waitNot is the setting of a deploy that does not wait for certificates.
var waitNot = api.Field("tls.wait").Is("false")

// issuanceReason says why a certificate could not be obtained, in the authority's own
// words (RFC 8555, section 6.7), and what to do about it.
func issuanceReason(host string, err error) (reason string, hint api.Advice) {
	without := api.Advise("%s deploys without waiting for the certificate", waitNot)
	var problem acme.Problem
	if !errors.As(err, &problem) {
		reason = api.Printable(innermost(err).Error())
		_, isNet := errors.AsType[net.Error](err)
		_, isURL := errors.AsType[*url.Error](err)
		if isNet || isURL {
			return "the certificate authority cannot be reached: " + reason,
				api.Advise("check the proxy's connection to the internet, and --acme-ca; %s", without)
		}
		return reason, api.Advise("see the proxy's log; %s", without)
	}
	detail := problem.Detail
	for _, sub := range problem.Subproblems {
		detail += "; " + sub.Detail
	}
	kind := strings.TrimPrefix(problem.Type, acme.ProblemTypeNamespace)
	reason = fmt.Sprintf("the certificate authority says: %s (%s)", api.PrintableUpTo(detail, maxDetail), api.Printable(kind))
	return reason, problemHint(host, kind, detail)
}

func problemHint(host, kind, detail string) api.Advice {
	if kind == "malformed" && strings.Contains(detail, "resolv") {
		kind = "dns"
	}
	switch kind {
	case "dns":
		return api.Advise("the name does not resolve: give %s an A or AAAA record with the address of this machine", host)
	case "connection", "tls":
		return api.Advise("the authority has to reach this machine under %s: check its DNS record, and that the ports 80 and 443 are open to the internet and lead to this proxy", host)
	case "unauthorized":
		return api.Advise("something else answers for %s: check that its DNS record leads to this machine and not to another server or a CDN", host)
	case "caa":
		return api.Advise("a CAA record of the domain forbids this authority: allow it there, or choose another with --acme-ca")
	case "rateLimited":
		hint := "while you try things out, start the proxy with --tls-staging, which has no such limits"
		if when := retryAfter.FindStringSubmatch(detail); when != nil {
			hint = "the limit ends at " + strings.TrimSpace(when[1]) + "; " + hint
		}
		return api.Advise("%s", hint)
	case "rejectedIdentifier", "unsupportedIdentifier":
		return api.Advise("this authority issues no certificates for that name: check its spelling, or choose another with --acme-ca")
	case "externalAccountRequired", "unauthorizedAccount":
		return api.Advise("the authority wants an account: see --acme-eab-key-id and --acme-eab-mac-key")
	case "serverInternal":
		return api.Advise("the authority has a problem: try again later, or deploy with %s", waitNot)
	}
	return api.Advise("see the proxy's log; %s deploys without waiting for the certificate", waitNot)
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
