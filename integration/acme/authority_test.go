package acme

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"

	"github.com/parachute-proxy/parachute/integration/rig/selfsigned"
)

// authorityOptions say what kind of authority a proxy gets.
type authorityOptions struct {
	// lifetime is that of the certificates. Default: 90 days.
	lifetime time.Duration
	// accountKeys are the keys that an account has to be bound to, by their id. Without
	// any, whoever comes gets an account.
	accountKeys map[string]string
}

// blocked is a name that no authority gives certificates for.
const blocked = "blocked." + domain

// authority is a certificate authority that speaks ACME: Pebble, behind a gate that
// counts orders and can be told to refuse them.
type authority struct {
	*gate
	// roots is what its certificates are trusted by.
	roots *x509.CertPool
	// url is that of its directory, and rootFile has what the ACME server itself is
	// trusted by.
	url, rootFile string

	addr    string
	keyPair tls.Certificate
	// mu guards server.
	mu     sync.Mutex
	server *http.Server
}

// startAuthority starts an authority that validates names at the given ports. Its
// files are in dir.
func startAuthority(o authorityOptions, dir string, httpPort, httpsPort int) (*authority, error) {
	dns, err := resolver()
	if err != nil {
		return nil, err
	}
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	for id, key := range o.accountKeys {
		if err := store.AddExternalAccountKeyByID(id, key); err != nil {
			return nil, err
		}
	}
	if err := store.AddBlockedDomain(blocked); err != nil {
		return nil, err
	}
	profiles := map[string]ca.Profile{"default": {ValidityPeriod: uint64(o.lifetime / time.Second)}}
	issuer := ca.New(quiet, store, "", "ecdsa", 0, 1, profiles)
	validator := va.New(quiet, httpPort, httpsPort, false, dns, store)
	frontend := wfe.New(quiet, store, validator, issuer, []string{domain}, false, len(o.accountKeys) > 0, 0, 0)

	a := &authority{gate: newGate(frontend.Handler()), roots: x509.NewCertPool(), rootFile: filepath.Join(dir, "acme-root.pem")}
	a.roots.AddCert(issuer.GetRootCert(0).Cert)
	k, err := selfsigned.New("127.0.0.1")
	if err != nil {
		return nil, err
	}
	if a.keyPair, err = k.TLS(); err != nil {
		return nil, err
	}
	if err := os.WriteFile(a.rootFile, k.PEM, 0o600); err != nil {
		return nil, err
	}
	a.addr = "127.0.0.1:0"
	if err := a.open(); err != nil {
		return nil, err
	}
	a.url = "https://" + a.addr + wfe.DirectoryPath
	return a, nil
}

// open lets the authority answer. It does from the beginning.
func (a *authority) open() error {
	l, err := net.Listen("tcp", a.addr)
	if err != nil {
		return err
	}
	a.addr = l.Addr().String()
	server := &http.Server{Handler: a.gate, ErrorLog: log.New(io.Discard, "", 0)}
	a.mu.Lock()
	a.server = server
	a.mu.Unlock()
	go func() { _ = server.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{a.keyPair}})) }()
	return nil
}

// close makes the authority one that is down.
func (a *authority) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = a.server.Close()
}
