package kamal

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
	"strings"
	"testing"
	"time"
)

// cached returns what autocert stores of a host: the key, then the certificate.
func cached(t *testing.T, host string, notAfter time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: notAfter.Add(-90 * 24 * time.Hour), NotAfter: notAfter,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return append(pemKey(t, key), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
}

func pemKey(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

func TestCertificatesAreTakenOver(t *testing.T) {
	t.Parallel()
	now := time.Now()
	dir := t.TempDir()
	write := func(folder, name string, content []byte) {
		t.Helper()
		file := filepath.Join(dir, folder, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// That of Let's Encrypt, as kamal-proxy 0.9.2 calls it.
	production := "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	account, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good, rsa := cached(t, "app.test", now.Add(24*time.Hour)), cached(t, "app.test", now.Add(48*time.Hour))
	write(production, "app.test", good)
	write(production, "app.test+rsa", rsa)
	write(production, "only.test+rsa", cached(t, "only.test", now.Add(time.Hour)))
	write(production, "old.test", cached(t, "old.test", now.Add(-time.Hour)))
	write(production, "wrong.test", cached(t, "other.test", now.Add(time.Hour)))
	write(production, "torn.test", good[:len(good)/2])
	write(production, "empty.test", nil)
	write(production, "token+http-01", []byte("x"))
	write(production, accountFile, pemKey(t, account))
	write(cacheName("https://ca.test/directory"), "own.test", cached(t, "own.test", now.Add(time.Hour)))
	write("0000", "lost.test", good)
	state := []byte(`[{"name":"own","active_targets":["a:80"],"options":{"hosts":["own.test"],"tls_enabled":true,"acme_directory":"https://ca.test/directory"}}]`)
	file := filepath.Join(dir, "state")
	if err := os.WriteFile(file, state, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Read(file, dir, now)
	if err != nil {
		t.Fatal(err)
	}
	stored := make(map[string]string)
	for _, f := range l.Files {
		if stored[f.Key] != "" {
			t.Errorf("%s is there twice", f.Key)
		}
		stored[f.Key] = string(f.Value)
	}
	const le = "acme-v02.api.letsencrypt.org-directory"
	for _, key := range []string{
		"certificates/" + le + "/app.test/app.test.crt", "certificates/" + le + "/app.test/app.test.key", "certificates/" + le + "/app.test/app.test.json",
		"certificates/" + le + "/only.test/only.test.crt", "certificates/ca.test-directory/own.test/own.test.key",
		"acme/" + le + "/users/default/default.json", "acme/" + le + "/users/default/default.key",
	} {
		if stored[key] == "" {
			t.Errorf("%s is missing", key)
		}
	}
	if len(stored) != 3*3+2 {
		t.Errorf("there is more: %d files", len(stored))
	}
	if chain := stored["certificates/"+le+"/app.test/app.test.crt"]; !strings.Contains(string(good), chain) || strings.Contains(chain, "KEY") {
		t.Error("the certificate is not that of the file")
	}
	report := ""
	for _, line := range l.Report {
		report += line.Text + "\n"
	}
	for _, text := range []string{
		"certificate of app.test, valid until", "certificate of old.test is left out: it has expired", "certificate of wrong.test is left out", "certificate of torn.test is left out",
		"certificate of empty.test is left out", "certificates in " + filepath.Join(dir, "0000") + " are left out", "start the proxy with PARACHUTE_ACME_CA=https://ca.test/directory",
	} {
		if !strings.Contains(report, text) {
			t.Errorf("the report does not say %q:\n%s", text, report)
		}
	}
}
