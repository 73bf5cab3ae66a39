package clients

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
	"github.com/parachute-proxy/parachute/integration/rig/selfsigned"
)

// domain is what all hosts of the tests are below.
const domain = "clients.test"

type object = map[string]any

// server is a proxy with a certificate for every host of the tests.
type server struct {
	*rig.Proxy
	// config is the user's part of the configuration, for --config.
	config object
	roots  *x509.CertPool
}

// newServer returns a proxy that has not been started.
func newServer(args ...string) (*server, error) {
	p, err := rig.NewProxy()
	if err != nil {
		return nil, err
	}
	s := &server{Proxy: p}
	certificate, err := selfsigned.New("*." + domain)
	if err != nil {
		return nil, err
	}
	certificateFile, keyFile := filepath.Join(p.Dir, "cert.pem"), filepath.Join(p.Dir, "key.pem")
	if err := certificate.Write(certificateFile, keyFile); err != nil {
		return nil, err
	}
	s.roots, s.config = certificate.Roots(), rig.CertificateConfig(certificateFile, keyFile)

	apps, err := appCertificate()
	if err != nil {
		return nil, err
	}
	trusted := filepath.Join(p.Dir, "apps.pem")
	if err := os.WriteFile(trusted, apps.PEM, 0o600); err != nil {
		return nil, err
	}
	s.Env = append(s.Env, "SSL_CERT_FILE="+trusted)
	p.Args = append([]string{"--config", s.configFile()}, args...)
	return s, nil
}

func (s *server) configFile() string { return filepath.Join(s.Dir, "config.json") }

// launch starts a proxy. configure, if not nil, changes it before.
func launch(configure func(*server), args ...string) (*server, error) {
	s, err := newServer(args...)
	if err != nil {
		return nil, err
	}
	if configure != nil {
		configure(s)
	}
	config, err := json.Marshal(s.config)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(s.configFile(), config, 0o600); err != nil {
		return nil, err
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

// reload has the proxy load its config again and waits until it has.
func (s *server) reload(t *testing.T) {
	t.Helper()
	must(t, s.ReloadConfig(patience))
}

// Most tests share one of these.
var (
	plain  = rigtest.Shared[*server]{Launch: func() (*server, error) { return launch(nil) }}
	logged = rigtest.Shared[*server]{Launch: func() (*server, error) { return launch(nil, "--access-log") }}
)
