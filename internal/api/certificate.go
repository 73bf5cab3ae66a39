package api

import (
	"crypto/x509"
	"strings"
	"time"
)

// Certificate is what is known of the certificate of a host.
type Certificate struct {
	Host string `json:"host"`
	// Issuer is the name of who has issued it; empty if there is none yet.
	Issuer string `json:"issuer,omitempty"`
	// NotBefore and NotAfter are when it begins to be valid and when it expires;
	// absent if there is none yet.
	NotBefore *time.Time `json:"not_before,omitempty"`
	NotAfter  *time.Time `json:"not_after,omitempty"`
	// Error says why it could not be obtained or renewed when that was last tried.
	Error string `json:"error,omitempty"`
}

// expiryWarning is how long before its end a certificate is worth a warning, or a
// quarter of its life if that is shorter: what is issued is renewed when a third of
// it is left.
const expiryWarning = 14 * 24 * time.Hour

// Problem says in a few words what is wrong with a certificate, or nothing.
func (c Certificate) Problem(now time.Time) string {
	switch {
	case c.NotAfter == nil && c.Error == "":
		return "is being obtained"
	case c.NotAfter == nil:
		return "cannot be obtained"
	case now.After(*c.NotAfter):
		return "has expired"
	case c.Error != "":
		return "is not being renewed"
	case c.NotAfter.Sub(now) < min(expiryWarning, c.NotAfter.Sub(*c.NotBefore)/4):
		return "expires soon and has not been renewed"
	}
	return ""
}

// Warning is Problem with the reason, which can be long.
func (c Certificate) Warning(now time.Time) string {
	problem := c.Problem(now)
	if problem != "" && c.Error != "" {
		problem += ": " + c.Error
	}
	return problem
}

// DescribeCertificate returns what is known of a certificate that a host has.
func DescribeCertificate(host string, leaf *x509.Certificate) Certificate {
	notBefore, notAfter := leaf.NotBefore.UTC(), leaf.NotAfter.UTC()
	issuer := strings.TrimSpace(strings.Join(leaf.Issuer.Organization, " ") + " " + leaf.Issuer.CommonName)
	return Certificate{Host: host, Issuer: Printable(issuer), NotBefore: &notBefore, NotAfter: &notAfter}
}
