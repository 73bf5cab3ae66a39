package proxy

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// trustedClients are the clients of a service that has to know them by their certificates. They
// are checked with each request and not with the handshake: by then it is known which service
// the request is for, whatever name the connection was made for, and a deploy that changes the
// authorities counts at once.
type trustedClients struct {
	roots    *x509.CertPool
	optional bool

	// mu guards known.
	mu sync.Mutex
	// known are certificates that were found to be good, and until when that is not looked at
	// again.
	known map[[sha256.Size]byte]time.Time
}

// Bounds of what is remembered of good certificates: for how long, and of how many.
const (
	knownClientFor  = time.Minute
	maxKnownClients = 1000
)

// trustedClientsOf returns the clients of a release; nil if it serves all.
func trustedClientsOf(s *api.Spec) *trustedClients {
	if s.Options.ClientCA == "" {
		return nil
	}
	c := &trustedClients{
		roots: x509.NewCertPool(), optional: s.Options.ClientAuth == api.ClientAuthOptional,
		known: make(map[[sha256.Size]byte]time.Time),
	}
	for _, authority := range api.CertificatesIn(s.Options.ClientCA) {
		c.roots.AddCert(authority)
	}
	return c
}

// check returns why the client of r is not served, or nil.
func (c *trustedClients) check(r *http.Request, now time.Time) error {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		if c.optional {
			return nil
		}
		return ErrClientCertificate
	}
	key := keyOf(r.TLS.PeerCertificates)
	c.mu.Lock()
	until := c.known[key]
	c.mu.Unlock()
	if now.Before(until) {
		return nil
	}
	if err := c.verify(r.TLS.PeerCertificates, now); err != nil {
		return fmt.Errorf("%w: %w", ErrClientCertificate, err)
	}
	c.remember(key, r.TLS.PeerCertificates[0], now)
	return nil
}

// verify checks what a client has shown: its certificate, and others that lead to an authority.
func (c *trustedClients) verify(shown []*x509.Certificate, now time.Time) error {
	between := x509.NewCertPool()
	for _, other := range shown[1:] {
		between.AddCert(other)
	}
	_, err := shown[0].Verify(x509.VerifyOptions{
		Roots: c.roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err
}

func (c *trustedClients) remember(key [sha256.Size]byte, leaf *x509.Certificate, now time.Time) {
	until := now.Add(knownClientFor)
	if leaf.NotAfter.Before(until) {
		until = leaf.NotAfter
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= maxKnownClients {
		clear(c.known)
	}
	c.known[key] = until
}

// keyOf returns what tells certificates from all others.
func keyOf(shown []*x509.Certificate) (key [sha256.Size]byte) {
	h := sha256.New()
	for _, c := range shown {
		fmt.Fprintf(h, "%d ", len(c.Raw))
		h.Write(c.Raw)
	}
	h.Sum(key[:0])
	return key
}

// AsksForCertificate reports whether a client that makes a connection for a server name is to
// be asked for a certificate: whether a service has to know its clients that has that name.
func (e *Engine) AsksForCertificate(serverName string) bool {
	return e.table.Load().asksForCertificate(canonicalName(serverName))
}

func (t *table) asksForCertificate(name string) bool {
	_, domain, _ := strings.Cut(name, ".")
	return t.exact[name].knowsClients() || t.wildcard[domain].knowsClients() || t.anyHost.knowsClients()
}

// knowsClients reports whether a service has to know its clients that has some path of hr, which
// may be nil.
func (hr *hostRoutes) knowsClients() bool {
	if hr == nil {
		return false
	}
	for _, c := range hr.all() {
		if slices.ContainsFunc(c.lineup.Load().releases(), func(r *release) bool { return r.clients != nil }) {
			return true
		}
	}
	return false
}
