package proxy

import (
	"context"
	"crypto/tls"

	"github.com/parachute-proxy/parachute/internal/api"
)

// TLSName is what the TLS handshake for a name is answered with.
type TLSName struct {
	// Service is the name of the service that has the name.
	Service string
	// Host is the host that the certificate is for: the name, or the wildcard that
	// covers it.
	Host   string
	Issuer api.Issuer
	// Allow says that the certificate is obtained when it is asked for, and asks whether
	// it may be: as [Engine.AllowCertificate]. It is nil for hosts that were deployed,
	// which get their certificates before.
	Allow func(context.Context) error
	// Certificate is the service's own; nil if it gets one issued.
	Certificate *tls.Certificate
}
