package forward

import (
	"crypto/tls"
	"crypto/x509"
	"net"

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
