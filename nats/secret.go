package nats

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"os"
	"time"
)

// minSecret is how many bytes a secret has at least, so that nobody finds it by trying.
const minSecret = 32

// peerName is the name in the certificates of all proxies: who they are, and not where.
const peerName = "parachute-fleet"

// secret is the certificate authority of a fleet. All proxies make the same one of the secret that they share,
// and a certificate of their own by it, so both ends of each connection know that the other one has the
// secret. Nothing of it is stored or expires.
type secret struct {
	key  ed25519.PrivateKey
	cert *x509.Certificate
}

// readSecret makes the authority of the secret in a file.
func readSecret(file string) (*secret, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the secret of the fleet: %w", err)
	}
	content = bytes.TrimSpace(content)
	if len(content) < minSecret {
		return nil, fmt.Errorf("the secret in %s is shorter than %d characters; make one with: openssl rand -hex 32", file, minSecret)
	}
	return newSecret(content)
}

func newSecret(content []byte) (*secret, error) {
	seed, err := hkdf.Key(sha256.New, content, nil, "parachute fleet authority", ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	key := ed25519.NewKeyFromSeed(seed)
	template := certificate("parachute fleet")
	template.SerialNumber, template.IsCA, template.BasicConstraintsValid = big.NewInt(1), true, true
	template.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &secret{key, cert}, nil
}

// certificate returns a template that is valid by every clock: who has the secret is trusted as long as
// the others have the same.
func certificate(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotBefore: time.Unix(0, 0),
		NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // no end, RFC 5280, section 4.1.2.5
	}
}

// tls returns the configuration of a proxy, as a client and as a server: both show a certificate of the
// fleet.
func (s *secret) tls(proxy string) (*tls.Config, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	template := certificate(proxy)
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, err
	}
	template.DNSNames, template.KeyUsage = []string{peerName}, x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, s.cert, public, s.key)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(s.cert)
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}},
		RootCAs: pool, ServerName: peerName, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}, nil
}
