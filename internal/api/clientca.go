package api

import (
	"crypto/x509"
	"encoding/pem"
)

// ClientAuth says whether a client of a service with [DeployRequest.ClientCA] needs a
// certificate. One that is not valid is refused in any case.
type ClientAuth string

const (
	// ClientAuthRequired serves nobody without a certificate.
	ClientAuthRequired ClientAuth = "required"
	// ClientAuthOptional leaves it to the application, or to handlers, whom to serve what.
	ClientAuthOptional ClientAuth = "optional"
)

// ClientAuths returns what there is to choose from.
func ClientAuths() []ClientAuth { return []ClientAuth{ClientAuthRequired, ClientAuthOptional} }

// MaxClientCA bounds the authorities of clients, in bytes.
const MaxClientCA = 256 << 10

// resolveClientCA checks the certificates of clients. It comes after resolveTLS.
func (r DeployRequest) resolveClientCA(s *Spec) error {
	switch {
	case r.ClientCA == "" && r.ClientAuth != "":
		return Invalid("%s has no effect without %s", Field("client_auth"), Field("client_ca"))
	case r.ClientCA == "":
		return nil
	case s.Options.TLS == nil:
		return Invalid("clients can show a certificate over TLS alone").
			WithHint("add %s, or leave %s out", Field("tls"), Field("client_ca"))
	case len(r.ClientCA) > MaxClientCA:
		return Invalid("%s: the authorities are more than %d bytes", Field("client_ca"), MaxClientCA)
	case len(CertificatesIn(r.ClientCA)) == 0:
		return Invalid("%s: there is no certificate of an authority in it", Field("client_ca")).
			WithHint("it has to be PEM, which begins with -----BEGIN CERTIFICATE-----")
	}
	return nil
}

// CertificatesIn returns the certificates in PEM that can be read.
func CertificatesIn(text string) (all []*x509.Certificate) {
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			all = append(all, c)
		}
	}
	return all
}
