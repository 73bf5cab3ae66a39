package acme

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
)

type object = map[string]any

// server is a proxy with a certificate authority of its own.
type server struct {
	*rig.Proxy
	ca *authority
	// options is for the authority.
	options authorityOptions
	// config is the user's part of the configuration, for --config.
	config object
	// more is behind the arguments that the authority needs.
	more []string
}

// newServer returns a proxy that has not been started.
func newServer(args ...string) (*server, error) {
	p, err := rig.NewProxy()
	if err != nil {
		return nil, err
	}
	// Certificates are looked after more often than anybody needs it but a test.
	renewal := object{"apps": object{"tls": object{"automation": object{"renew_interval": "500ms"}}}}
	return &server{Proxy: p, config: renewal, more: args}, nil
}

// Start starts the authority, if there is none yet, and the proxy.
func (s *server) Start() error {
	if s.ca == nil {
		var err error
		if s.ca, err = startAuthority(s.options, s.Dir, s.HTTPPort, s.HTTPSPort); err != nil {
			return err
		}
	}
	if s.Caddyfile == "" {
		config, err := json.Marshal(s.config)
		if err != nil {
			return err
		}
		if err := os.WriteFile(s.path("config.json"), config, 0o600); err != nil {
			return err
		}
		s.Args = append([]string{"--config", s.path("config.json"), "--acme-ca", s.ca.url, "--acme-ca-root", s.ca.rootFile}, s.more...)
	}
	return s.Proxy.Start()
}

// path is that of a file of the server.
func (s *server) path(name string) string { return filepath.Join(s.Dir, name) }

// End ends the proxy and its authority.
func (s *server) End(timeout time.Duration) error {
	err := s.Proxy.End(timeout)
	if s.ca != nil {
		s.ca.close()
	}
	return err
}

// launch starts a proxy. configure, if not nil, changes it before.
func launch(configure func(*server), args ...string) (*server, error) {
	s, err := newServer(args...)
	if err != nil {
		return nil, err
	}
	if configure != nil {
		configure(s)
	}
	if err := s.Start(); err != nil {
		return nil, errors.Join(err, s.End(patience))
	}
	return s, nil
}

// startServer returns a proxy of the test's own. configure, if not nil, changes it
// before it is started.
func startServer(t *testing.T, configure func(*server), args ...string) *server {
	t.Helper()
	s, err := launch(configure, args...)
	must(t, err)
	rigtest.EndAfter(t, s)
	return s
}

// restart stops the proxy and starts it again.
func (s *server) restart(t *testing.T) {
	t.Helper()
	_, err := s.Stop(patience)
	must(t, err)
	must(t, s.Start())
}

// internalRoots is what the proxy's own authority is trusted by.
func (s *server) internalRoots(t *testing.T) *x509.CertPool {
	t.Helper()
	roots, err := s.InternalRoots()
	must(t, err)
	return roots
}

// common is a proxy that all tests share which disturb nobody.
//
// A proxy asks an authority for ten certificates in ten seconds at most, so those
// tests have theirs from the proxy's own.
var common = rigtest.Shared[*server]{Launch: func() (*server, error) { return launch(nil) }}
