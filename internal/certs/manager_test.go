package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
)

// testIssuer issues whatever it is asked for.
type testIssuer struct{}

func (testIssuer) IssuerKey() string { return "test" }

func (testIssuer) Issue(_ context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: csr.DNSNames,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, csr.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &certmagic.IssuedCertificate{Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}, nil
}

// countedStorage counts how often it is read.
type countedStorage struct {
	certmagic.Storage
	reads atomic.Int64
}

func (s *countedStorage) Load(ctx context.Context, key string) ([]byte, error) {
	s.reads.Add(1)
	return s.Storage.Load(ctx, key)
}

// After a start, certificates are loaded one after the other. Nobody is sent by HTTP
// because the turn of a host has not come, and no host without one is looked for again
// and again.
func TestStoredCertificateIsThereBeforeItsTurn(t *testing.T) {
	c := newTestCertificates(t)
	a, h := c.pool(api.IssuerAuto)
	storage := &countedStorage{Storage: &certmagic.FileStorage{Path: t.TempDir()}}
	config := certmagic.New(a.cache, certmagic.Config{Issuers: []certmagic.Issuer{testIssuer{}}, Storage: storage, Logger: zap.NewNop()})
	h.configs[configKey{api.IssuerAuto, nil}] = config
	if err := config.ObtainCertAsync(t.Context(), "stored.test"); err != nil {
		t.Fatal(err)
	}
	if described := c.Certificate("stored.test", api.IssuerAuto); described.NotAfter != nil {
		t.Fatal("the certificate has been loaded")
	}
	var requests sync.WaitGroup
	for range 10 {
		requests.Go(func() {
			if !c.HasCertificate("stored.test", api.IssuerAuto) {
				t.Error("a certificate that is stored is not there")
			}
			if c.HasCertificate("missing.test", api.IssuerAuto) {
				t.Error("a certificate that is not stored is there")
			}
		})
	}
	requests.Wait()
	before := storage.reads.Load()
	for range 10 {
		c.HasCertificate("stored.test", api.IssuerAuto)
		c.HasCertificate("missing.test", api.IssuerAuto)
	}
	if n := storage.reads.Load() - before; n > 0 {
		t.Errorf("storage was read %d times more", n)
	}
}
