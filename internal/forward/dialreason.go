package forward

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/transport"
)

// DialReason says in few words why a connection failed, the same words for the
// same reason, so that repetitions can be counted.
func DialReason(err error) string {
	if reason, ok := certificateReason(err); ok {
		return reason
	}
	dns, isDNS := errors.AsType[*net.DNSError](err)
	switch {
	case isDNS && dns.IsNotFound:
		return fmt.Sprintf("host name %s does not resolve", api.Printable(dns.Name))
	case isDNS && dns.IsTimeout:
		return fmt.Sprintf("looking up %s timed out", api.Printable(dns.Name))
	case isDNS:
		// What comes before the last colon has the addresses of the resolver and our own,
		// whose port is another every time.
		return fmt.Sprintf("looking up %s failed: %s", api.Printable(dns.Name), api.Printable(dns.Err[strings.LastIndex(": "+dns.Err, ": "):]))
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET):
		return "connection reset"
	case errors.Is(err, syscall.EHOSTUNREACH):
		return "no route to host"
	case errors.Is(err, syscall.ENETUNREACH):
		return "network is unreachable"
	case errors.Is(err, syscall.ENOENT):
		return "no such socket"
	case errors.Is(err, syscall.EMFILE):
		return "the proxy has no file descriptors left"
	case errors.Is(err, syscall.EACCES):
		return "permission denied"
	case isNoHTTP2(err):
		return NotHTTP2
	case errors.Is(err, transport.ErrMalformed):
		for inner := errors.Unwrap(err); inner != nil && inner != transport.ErrMalformed; inner = errors.Unwrap(inner) {
			err = inner
		}
		return api.Printable(err.Error())
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, transport.ErrClosed):
		return "connection closed without an answer"
	}
	if isTimeout(err) {
		return "connecting timed out"
	}
	if inner := errors.Unwrap(err); inner != nil {
		return DialReason(inner)
	}
	return api.Printable(err.Error())
}

// NotHTTP2 is the reason of a target that is to speak HTTP/2 without TLS, and answers in
// HTTP/1.1.
const NotHTTP2 = "it does not speak HTTP/2"

// isNoHTTP2 reports whether the other side has answered an HTTP/2 connection with something
// else. Which of its errors net/http then has depends on what it comes to see first.
func isNoHTTP2(err error) bool {
	text := err.Error()
	return slices.ContainsFunc([]string{
		"http2: frame too large", "looked like an HTTP/1.1 header", "http2: client conn could not be established",
	}, func(known string) bool { return strings.Contains(text, known) })
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
