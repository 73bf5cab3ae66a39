package forward

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// rootsOf returns the authorities that a release trusts instead of the system's. If there
// are none, as when the file and what was stored of it are gone, no target is trusted.
func rootsOf(s api.Spec) *x509.CertPool {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(s.TargetCA))
	return roots
}

// targetTLS returns how TLS is spoken with a target, the same for requests and for probes;
// nil if it is not. Who gets it may change it.
func (r *Release) targetTLS(t api.Target) *tls.Config {
	if t.Scheme != "https" {
		return nil
	}
	o := &r.Spec.Options
	host, _, _ := net.SplitHostPort(t.Address)
	c := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, RootCAs: r.roots}
	if o.TargetServerName != "" {
		c.ServerName = o.TargetServerName
	}
	c.InsecureSkipVerify = o.TargetInsecure
	return c
}

// certificateReason says why the certificate of a target was not taken, the same words for
// the same reason: those of the standard library have the time in them. It returns false if
// err is about something else.
func certificateReason(err error) (string, bool) {
	failed, ok := errors.AsType[*tls.CertificateVerificationError](err)
	if !ok || len(failed.UnverifiedCertificates) == 0 {
		return "", false
	}
	leaf := failed.UnverifiedCertificates[0]
	if wrong, ok := errors.AsType[x509.HostnameError](err); ok {
		names := namesOf(leaf)
		if len(names) == 0 {
			return fmt.Sprintf("its certificate is for no name at all, but %s was asked for", api.Printable(wrong.Host)), true
		}
		return fmt.Sprintf("its certificate is for %s, but %s was asked for", strings.Join(names, ", "), api.Printable(wrong.Host)), true
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		which := "its certificate"
		if invalid.Cert != leaf {
			which = fmt.Sprintf("its certificate's issuer, %q,", nameOf(invalid.Cert.Subject.String()))
		}
		if now := time.Now(); now.Before(invalid.Cert.NotBefore) {
			return which + " is not valid before " + invalid.Cert.NotBefore.UTC().Format(time.DateTime), true
		}
		return which + " has expired on " + invalid.Cert.NotAfter.UTC().Format(time.DateOnly), true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		if slices.Equal(leaf.RawIssuer, leaf.RawSubject) {
			return "its certificate is signed by itself, and not trusted", true
		}
		last := failed.UnverifiedCertificates[len(failed.UnverifiedCertificates)-1]
		return fmt.Sprintf("its certificate is from an authority that is not trusted, %q", nameOf(last.Issuer.String())), true
	}
	if _, ok := errors.AsType[x509.SystemRootsError](err); ok {
		return "its certificate cannot be checked: the proxy's machine trusts no authority", true
	}
	return "its certificate cannot be used: " + api.Printable(strings.TrimPrefix(failed.Err.Error(), "x509: ")), true
}

// nameOf returns a distinguished name for people, in which a common name does not say so.
func nameOf(distinguished string) string {
	return api.PrintableUpTo(strings.TrimPrefix(distinguished, "CN="), 80)
}

// namesOf returns the names that a certificate is for, a few of many.
func namesOf(c *x509.Certificate) []string {
	var names []string
	for _, name := range c.DNSNames {
		names = append(names, api.PrintableUpTo(name, 80))
	}
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	const most = 3
	if more := len(names) - most; more > 0 {
		names = append(names[:most], fmt.Sprintf("and %d more", more))
	}
	return names
}
