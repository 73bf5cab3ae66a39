package clients

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig"
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

// newServer returns a proxy that has not been started. It is stopped and removed
// by stop.
func newServer(args ...string) (*server, error) {
	// t.TempDir can be longer than a socket path may be.
	dir, err := os.MkdirTemp("", "parachute-clients-")
	if err != nil {
		return nil, err
	}
	p, err := rig.NewProxy(dir)
	if err != nil {
		return nil, err
	}
	s := &server{Proxy: p}
	if trusted, err := appCertificate(); err == nil {
		s.Env = append(s.Env, "SSL_CERT_FILE="+trusted)
	}
	if s.roots, err = rig.WriteCertificate(dir, "*."+domain); err != nil {
		return nil, err
	}
	s.config = object{"apps": object{"tls": object{"certificates": object{"load_files": []any{
		object{"certificate": filepath.Join(dir, "cert.pem"), "key": filepath.Join(dir, "key.pem")},
	}}}}}
	p.Args = append([]string{"--config", s.configFile()}, args...)
	return s, nil
}

func (s *server) configFile() string { return filepath.Join(s.Dir, "config.json") }

// launch starts a proxy. configure, if not nil, changes it before.
func launch(configure func(*server), args ...string) (*server, error) {
	for attempt := 1; ; attempt++ {
		s, err := newServer(args...)
		if err != nil {
			return nil, err
		}
		if configure != nil {
			configure(s)
		}
		if err = s.start(); err == nil {
			return s, nil
		}
		os.RemoveAll(s.Dir)
		// A port that was free may not be so any more: other tests open some, too.
		if attempt == 3 || !strings.Contains(s.Log(), "address already in use") {
			return nil, err
		}
	}
}

func (s *server) start() error {
	config, err := json.Marshal(s.config)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.configFile(), config, 0o600); err != nil {
		return err
	}
	return s.Start()
}

// stop ends the proxy and tells what must not be in the log of any.
func (s *server) stop() error {
	defer os.RemoveAll(s.Dir)
	_, err := s.Stop(patience)
	return errors.Join(err, s.Complaint())
}

// startServer returns a proxy of the test's own. configure, if not nil, changes it
// before it is started.
func startServer(t *testing.T, configure func(*server), args ...string) *server {
	t.Helper()
	s, err := launch(configure, args...)
	must(t, err)
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the proxy's log:\n%s", s.Log()[max(0, len(s.Log())-4000):])
		}
	})
	return s
}

// httpsAddr is where the proxy serves TLS, over TCP and QUIC.
func (s *server) httpsAddr() string { return fmt.Sprintf("127.0.0.1:%d", s.HTTPSPort) }

// reload has the proxy load its config again and waits until it has.
func (s *server) reload(t *testing.T) {
	t.Helper()
	must(t, s.ReloadConfig(patience))
}

// shared is a proxy that all tests share which disturb nobody. The first starts it.
type shared struct {
	args []string
	once sync.Once
	s    *server
	err  error
}

var (
	plain  shared
	logged = shared{args: []string{"--access-log"}}
)

func (sh *shared) server(t *testing.T) *server {
	t.Helper()
	sh.once.Do(func() {
		sh.s, sh.err = launch(nil, sh.args...)
	})
	must(t, sh.err)
	return sh.s
}

func (sh *shared) stop() error {
	if sh.s == nil {
		return nil
	}
	return sh.s.stop()
}
