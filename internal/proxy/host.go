package proxy

import (
	"context"
	"net"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Store keeps one document for each service. Writes replace the whole document:
// a reader sees the old one or the new one.
type Store interface {
	// Save replaces the document of a service. The one before becomes the generation
	// before it, if it is usable; if not, an older one stays that.
	Save(ctx context.Context, service string, document []byte, usable func(document []byte) bool) error
	// Delete removes the document of a service. It is no error if there is none.
	Delete(ctx context.Context, service string) error
	// Load returns the generations of the document of a service that can be
	// read, the newest first, and an error if there are others.
	Load(ctx context.Context, service string) ([][]byte, error)
	// List returns the names of all services that have a document.
	List(ctx context.Context) ([]string, error)
}

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

// EngineOptions configure an [Engine].
type EngineOptions struct {
	// Store keeps the state. Required.
	Store Store
	// Certifier gets certificates. Default: deployments that need some are refused.
	Certifier Certifier
	// Logger receives what operators should know. Default: nothing is logged.
	Logger *zap.Logger
	// UserAgent is what probes say they are. Default: "parachute".
	UserAgent string
	// Resolver looks up the names of targets. Default: the system's.
	Resolver *net.Resolver
}

func (o EngineOptions) withDefaults() EngineOptions {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.UserAgent == "" {
		o.UserAgent = "parachute"
	}
	return o
}
