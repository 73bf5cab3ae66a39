package certs

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"github.com/mholt/acmez/v3/acme"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Why there is no certificate is said in the words of the one who refused it, with
// what can be done about it.
func TestFailedIssuanceIsExplained(t *testing.T) {
	problem := func(kind, detail string) error {
		return fmt.Errorf("[a.test] Obtain: [a.test] solving challenges: %w (order=https://ca.test/1)",
			acme.Problem{Type: acme.ProblemTypeNamespace + kind, Status: 400, Detail: detail})
	}
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	for name, tc := range map[string]struct {
		err           error
		message, hint string
	}{
		"name": {
			problem("dns", "DNS problem: NXDOMAIN looking up A for a.test"),
			"no certificate for a.test: the certificate authority says: DNS problem: NXDOMAIN looking up A for a.test (dns)",
			"give a.test an A or AAAA record",
		},
		"port":          {problem("connection", "192.0.2.1: Fetching http://a.test/x: Timeout"), "Fetching http://a.test/x: Timeout (connection)", "ports 80 and 443"},
		"somebody else": {problem("unauthorized", "Invalid response: 404"), "Invalid response: 404 (unauthorized)", "something else answers for a.test"},
		"CAA":           {problem("caa", "CAA record prevents issuance"), "CAA record prevents issuance (caa)", "CAA record of the domain forbids"},
		"limit": {
			problem("rateLimited", "too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s, retry after 2026-11-25 10:11:12 UTC: see https://letsencrypt.org/docs/rate-limits/"),
			"too many certificates (5)", "the limit ends at 2026-11-25 10:11:12 UTC; while you try things out, start the proxy with --tls-staging",
		},
		"limit without an end": {problem("rateLimited", "slow down"), "slow down (rateLimited)", "while you try things out, start the proxy with --tls-staging"},
		"name refused":         {problem("rejectedIdentifier", "policy forbids"), "policy forbids", "this authority issues no certificates for that name"},
		"account":              {problem("externalAccountRequired", "EAB"), "EAB", "--acme-eab-key-id"},
		"unwell":               {problem("serverInternal", "oops"), "oops", "the authority has a problem"},
		"escapes":              {problem("dns", "\x1b[31m"), "?[31m", "does not resolve"},
		"down": {
			fmt.Errorf("provisioning client: %w", &url.Error{Op: "Get", URL: "https://ca.test/dir", Err: refused}),
			"the certificate authority cannot be reached: connection refused", "--acme-ca",
		},
		"anything else": {fmt.Errorf("saving: %w", errors.New("no space left on device")), "no certificate for a.test: no space left on device", "see the proxy's log"},
	} {
		e := explainIssuance("a.test", tc.err)
		if e.Code != api.CodeCertificate || !strings.Contains(e.Message, tc.message) || !strings.Contains(e.Hint, tc.hint) {
			t.Errorf("%s: %s (%s)\n  %s\nwant %q and %q", name, e.Message, e.Code, e.Hint, tc.message, tc.hint)
		}
	}
	long := explainIssuance("a.test", problem("dns", strings.Repeat("x", 300)+"THE POINT"))
	if !strings.Contains(long.Message, "THE POINT") {
		t.Errorf("the end of a long reason is cut: %s", long.Message)
	}
}
