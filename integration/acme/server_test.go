package acme

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig"
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

// newServer returns a proxy that has not been started. It is stopped and removed by
// stop.
func newServer(args ...string) (*server, error) {
	// t.TempDir can be longer than a socket path may be.
	dir, err := os.MkdirTemp("", "parachute-acme-")
	if err != nil {
		return nil, err
	}
	p := &rig.Proxy{Dir: dir}
	for _, port := range []*int{&p.HTTPPort, &p.HTTPSPort} {
		if *port, err = stablePort(); err != nil {
			return nil, err
		}
	}
	// Certificates are looked after more often than anybody needs it but a test.
	renewal := object{"apps": object{"tls": object{"automation": object{"renew_interval": "500ms"}}}}
	return &server{Proxy: p, config: renewal, more: args}, nil
}

// ports is where the next port is looked for: somewhere, since other processes may look
// too.
var ports atomic.Int64

func init() { ports.Store(10_000 + rand.Int64N(20_000)) }

// stablePort returns a port that is free, over TCP and UDP, and stays so while a proxy
// is restarted: the system gives none of that range to connections and tests.
func stablePort() (int, error) {
	for range 1000 {
		port := 10_000 + ports.Add(1)%20_000
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
		if err != nil {
			continue
		}
		l.Close()
		if pc, err := net.ListenPacket("udp", l.Addr().String()); err == nil {
			pc.Close()
			return int(port), nil
		}
	}
	return 0, errors.New("no port is free")
}

// start starts the authority, if there is none yet, and the proxy.
func (s *server) start() error {
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
	return s.Start()
}

// path is that of a file of the server.
func (s *server) path(name string) string { return filepath.Join(s.Dir, name) }

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

// stop ends the proxy and its authority, and tells what must not be in any log.
func (s *server) stop() error {
	defer os.RemoveAll(s.Dir)
	_, err := s.Stop(patience)
	s.ca.close()
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

// restart stops the proxy and starts it again.
func (s *server) restart(t *testing.T) {
	t.Helper()
	_, err := s.Stop(patience)
	must(t, err)
	must(t, s.start())
}

// httpsAddr is where the proxy serves TLS, over TCP and QUIC.
func (s *server) httpsAddr() string { return fmt.Sprintf("127.0.0.1:%d", s.HTTPSPort) }

// internalRoots is what the proxy's own authority is trusted by. It is there when
// the first certificate is.
func (s *server) internalRoots(t *testing.T) *x509.CertPool {
	t.Helper()
	root, err := os.ReadFile(filepath.Join(s.Dir, "storage", "pki", "authorities", "local", "root.crt"))
	must(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(root)
	return pool
}

// shared is a proxy that all tests share which disturb nobody. The first starts it.
//
// A proxy asks an authority for ten certificates in ten seconds at most, so those
// tests have theirs from the proxy's own.
type shared struct {
	once sync.Once
	s    *server
	err  error
}

var common shared

func (sh *shared) server(t *testing.T) *server {
	t.Helper()
	sh.once.Do(func() {
		sh.s, sh.err = launch(nil)
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
