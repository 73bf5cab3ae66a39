package peer

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/parachute-proxy/parachute/integration/rig/selfsigned"
)

// Certificate is a certificate for Host, signed by itself.
type Certificate struct {
	CertFile string // PEM
	KeyFile  string // PEM, PKCS #8
	Bundle   string // PEM, both
	Roots    *x509.CertPool
}

// NewCertificate writes a certificate into a directory.
func NewCertificate(dir string) (*Certificate, error) {
	made, err := selfsigned.New(Host)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	c := &Certificate{
		CertFile: filepath.Join(dir, "cert.pem"),
		KeyFile:  filepath.Join(dir, "key.pem"),
		Bundle:   filepath.Join(dir, "bundle.pem"),
		Roots:    made.Roots(),
	}
	err = made.Write(c.CertFile, c.KeyFile)
	if err == nil {
		err = os.WriteFile(c.Bundle, slices.Concat(made.PEM, made.Key), 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("writing a certificate: %w", err)
	}
	return c, nil
}
