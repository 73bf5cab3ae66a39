package proxy

import (
	"context"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Certifier gets certificates for hosts and keeps them valid. A host may be a
// wildcard. Its errors are for the person who deploys.
type Certifier interface {
	// Check returns why a host cannot have a certificate, or nil. It asks nobody.
	Check(host string, issuer api.Issuer) error
	// Certify returns the certificate of a host, obtaining it if there is none.
	Certify(ctx context.Context, host string, issuer api.Issuer) (api.Certificate, error)
	// Keep has the certificate of a host renewed in time, and obtained if there is
	// none. It returns at once.
	Keep(host string, issuer api.Issuer)
	// Forget ends what Keep began. It returns at once.
	Forget(host string, issuer api.Issuer)
	// HasCertificate reports whether clients that ask for a host by HTTPS can be served.
	// It may wait a moment, as long as the certificate has not been looked for.
	HasCertificate(host string, issuer api.Issuer) bool
	// Certificate returns what is known of the certificate of a host. It returns at once.
	Certificate(host string, issuer api.Issuer) api.Certificate
}
