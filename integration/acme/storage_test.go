package acme

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stored returns the path of a certificate in the storage of the proxy.
func (s *server) stored(t *testing.T, host string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.Dir, "storage", "certificates", "*", host, host+".crt"))
	must(t, err)
	if len(files) != 1 {
		t.Fatalf("the certificates of %s in the storage are %q", host, files)
	}
	return files[0]
}

// What expired while the proxy was off is renewed when it comes back, and everything
// else is served meanwhile.
func TestCertificateThatExpiredWhileOffIsRenewed(t *testing.T) {
	t.Parallel()
	s := startServer(t, func(s *server) { s.options.lifetime = 4 * time.Second })
	host, inside := newHost(), newHost()
	s.deploy(t, startApp(t, named("app")).addr(), "--host", host, "--tls").wantDone(t)
	s.deploy(t, startApp(t, named("inside")).addr(), "--host", inside, "--tls=internal").wantDone(t)
	leaf := s.leaf(t, host)
	_, err := s.Stop(patience)
	must(t, err)
	waitFor(t, "the certificate to expire", func() bool { return time.Since(leaf.NotAfter) > time.Second })
	must(t, s.Start())
	s.wantBody(t, inside, "inside", s.internalRoots(t))
	waitFor(t, "another certificate", func() bool {
		state, err := s.handshake(host, nil)
		return err == nil && time.Now().Before(state.PeerCertificates[0].NotAfter)
	})
}

// Trap 63: a certificate that cannot be read any more is the trouble of its host
// alone, and another is obtained.
func TestDamagedCertificateIsTheTroubleOfOneHost(t *testing.T) {
	t.Parallel()
	key := func(path string) string { return strings.TrimSuffix(path, ".crt") + ".key" }
	about := func(path string) string { return strings.TrimSuffix(path, ".crt") + ".json" }
	for name, damage := range map[string]func(path string) error{
		"empty":          func(path string) error { return os.Truncate(path, 0) },
		"cut short":      func(path string) error { return os.Truncate(path, 100) },
		"gone":           os.Remove,
		"key is gone":    func(path string) error { return os.Remove(key(path)) },
		"key cut short":  func(path string) error { return os.Truncate(key(path), 100) },
		"metadata empty": func(path string) error { return os.Truncate(about(path), 0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, nil)
			hurt, whole := newHost(), newHost()
			addr := startApp(t, named("app")).addr()
			s.deploy(t, addr, "--host", hurt, "--tls", "--tls-redirect=false").wantDone(t)
			s.deploy(t, addr, "--host", whole, "--tls").wantDone(t)
			_, err := s.Stop(patience)
			must(t, err)
			must(t, damage(s.stored(t, hurt)))
			must(t, s.Start())
			s.wantBody(t, whole, "app", s.ca.roots)
			if a := s.get(t, "http://"+hurt+"/", nil); a.StatusCode != http.StatusOK || a.body != "app" {
				t.Errorf("over HTTP: %s", a)
			}
			waitFor(t, "another certificate", func() bool {
				_, err := s.handshake(hurt, nil)
				return err == nil
			})
			s.deploy(t, addr, "--host", hurt, "--tls").wantDone(t)
			s.wantBody(t, hurt, "app", s.ca.roots)
			if n := s.ca.ordersFor(hurt); n != 2 {
				t.Errorf("%d orders", n)
			}
		})
	}
}
