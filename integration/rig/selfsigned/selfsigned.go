// Package selfsigned makes certificates that have signed themselves, for tests and
// benchmarks. It imports nothing of ours, so that every test can use it, also one of a
// package that the rig is built on.
package selfsigned

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"time"
)

// Certificate is a certificate with its key, both in PEM; the key is a PKCS #8 one.
type Certificate struct {
	PEM, Key []byte
}

// New makes a certificate for names and IP addresses that is valid for a day.
func New(names ...string) (*Certificate, error) {
	return Between(time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour), names...)
}

// Between makes a certificate for names and IP addresses that is valid from one moment
// to another. It has an ECDSA key on P-256, as ACME clients ask for, is an authority, so
// that clients can be told to trust it, and has a serial number of its own.
func Between(notBefore, notAfter time.Time, names ...string) (*Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "a certificate of the test's own"},
		NotBefore: notBefore, NotAfter: notAfter, IsCA: true, BasicConstraintsValid: true,
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return &Certificate{
		PEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}, nil
}

// TLS returns the certificate for a server.
func (c *Certificate) TLS() (tls.Certificate, error) { return tls.X509KeyPair(c.PEM, c.Key) }

// Roots returns what a client has to trust.
func (c *Certificate) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(c.PEM)
	return pool
}

// Write puts the certificate and its key into two files. Each is replaced at once, as
// programs do that renew certificates.
func (c *Certificate) Write(certificateFile, keyFile string) error {
	for path, content := range map[string][]byte{certificateFile: c.PEM, keyFile: c.Key} {
		if err := os.WriteFile(path+".new", content, 0o600); err != nil {
			return err
		}
		if err := os.Rename(path+".new", path); err != nil {
			return err
		}
	}
	return nil
}
