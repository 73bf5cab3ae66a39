package fleettest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// certifier is a [proxy.Certifier] that issues at once.
type certifier struct {
	// mu guards what follows.
	mu sync.Mutex
	// refuses is why nobody gets a certificate, fails why an order does not succeed; nil if all is well.
	refuses, fails error
	// kept are the hosts whose certificates are looked after, issued those that have one.
	kept, issued map[string]bool
}

func newCertifier() *certifier {
	return &certifier{kept: make(map[string]bool), issued: make(map[string]bool)}
}

// set says how orders go from now on.
func (c *certifier) set(refuses, fails error) {
	c.mu.Lock()
	c.refuses, c.fails = refuses, fails
	c.mu.Unlock()
}

// looksAfter returns the hosts whose certificates are looked after.
func (c *certifier) looksAfter() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Keys(c.kept)), " ")
}

func (c *certifier) Check(string, api.Issuer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refuses
}

func (c *certifier) Certify(_ context.Context, host string, _ api.Issuer) (api.Certificate, error) {
	c.mu.Lock()
	if c.fails != nil {
		defer c.mu.Unlock()
		return api.Certificate{}, c.fails
	}
	c.kept[host], c.issued[host] = true, true // certmagic looks after what it has obtained
	c.mu.Unlock()
	return c.Certificate(host, ""), nil
}

func (c *certifier) Keep(host string, _ api.Issuer) {
	c.mu.Lock()
	c.kept[host], c.issued[host] = true, true
	c.mu.Unlock()
}

func (c *certifier) Forget(host string, _ api.Issuer) {
	c.mu.Lock()
	delete(c.kept, host)
	c.mu.Unlock()
}

func (c *certifier) HasCertificate(host string, _ api.Issuer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.issued[host]
}

func (c *certifier) Certificate(host string, issuer api.Issuer) api.Certificate {
	if !c.HasCertificate(host, issuer) {
		return api.Certificate{Host: host}
	}
	return api.Certificate{Host: host, Issuer: "Test", NotAfter: new(time.Now().Add(time.Hour))}
}
