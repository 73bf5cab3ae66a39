package proxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// testTime is a moment that is not now.
var testTime = time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)

// pemFiles are a certificate and a key of a test's own.
type pemFiles struct {
	t                 testing.TB
	certificate, key  string
	generation        int
	notBefore, expiry time.Time
}

// newPEMFiles writes a certificate for hosts that is valid now.
func newPEMFiles(t testing.TB, hosts ...string) *pemFiles {
	t.Helper()
	dir := t.TempDir()
	f := &pemFiles{
		t: t, certificate: filepath.Join(dir, "certificate.pem"), key: filepath.Join(dir, "key.pem"),
		notBefore: time.Now().Add(-time.Hour), expiry: time.Now().Add(24 * time.Hour),
	}
	f.write(hosts...)
	return f
}

// write replaces both files.
func (f *pemFiles) write(hosts ...string) {
	f.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.t.Fatal(err)
	}
	f.generation++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(f.generation)), DNSNames: hosts, Issuer: pkix.Name{CommonName: "Test"},
		Subject: pkix.Name{CommonName: "Test"}, NotBefore: f.notBefore, NotAfter: f.expiry,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		f.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		f.t.Fatal(err)
	}
	f.put(f.certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	f.put(f.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

// put writes a file with a time of its own, whatever the clock's resolution.
func (f *pemFiles) put(path string, content []byte) {
	f.t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		f.t.Fatal(err)
	}
	modified := testTime.Add(time.Duration(f.generation) * time.Second)
	if err := os.Chtimes(path, modified, modified); err != nil {
		f.t.Fatal(err)
	}
}

func (f *pemFiles) request() *api.TLSRequest {
	return &api.TLSRequest{CertificatePath: f.certificate, PrivateKeyPath: f.key}
}

// pair returns the pair of the files for hosts, after it has been read.
func (f *pemFiles) pair(hosts ...string) *keyPair {
	f.t.Helper()
	k := newKeyPair(&api.TLSOptions{CertificatePath: f.certificate, PrivateKeyPath: f.key}, hosts)
	if err := k.read(time.Now()); err != nil {
		f.t.Fatal(err)
	}
	return k
}

func (k *keyPair) serial() int64 { return k.current.Load().certificate.Leaf.SerialNumber.Int64() }
