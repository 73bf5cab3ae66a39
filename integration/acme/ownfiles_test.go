package acme

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig/selfsigned"
)

// files are the two files of a certificate of the user's own.
type files struct{ certificate, key string }

// newFiles writes a certificate into files of their own.
func newFiles(t *testing.T, notAfter time.Time, names ...string) (files, *selfsigned.Certificate) {
	t.Helper()
	k, err := selfsigned.Between(time.Now().Add(-48*time.Hour), notAfter, names...)
	must(t, err)
	dir := t.TempDir()
	f := files{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	must(t, k.Write(f.certificate, f.key))
	return f, k
}

func (f files) flags() []string {
	return []string{"--tls", "--tls-certificate-path", f.certificate, "--tls-private-key-path", f.key}
}

var tomorrow = time.Now().Add(24 * time.Hour)

// A certificate of the user's own is served, renewed or not, with the release that it
// came with.
func TestOwnCertificateIsSwappedWithTheRelease(t *testing.T) {
	t.Parallel()
	s := common.Get(t)
	host := newHost()
	one, oneKey := newFiles(t, tomorrow, host)
	two, twoKey := newFiles(t, tomorrow, "*."+domain)
	roots := oneKey.Roots()
	roots.AppendCertsFromPEM(twoKey.PEM)
	s.deploy(t, append(one.flags(), startApp(t, named("v1")).addr(), "--host", host)...).wantDone(t)
	s.wantBody(t, host, "v1", oneKey.Roots())

	l := newLoad()
	for _, protocol := range []string{h1, h2} {
		c := s.client(t, protocol, roots)
		l.user(fetch(s.client(t, protocol, roots), "https://"+host+"/", "v1", "v2"))
		l.user(fresh(c, fetch(c, "https://"+host+"/", "v1", "v2")))
	}
	s.deploy(t, append(two.flags(), startApp(t, named("v2")).addr(), "--host", host)...).wantDone(t)
	s.wantBody(t, host, "v2", twoKey.Roots())
	l.end(t)
	if n := s.ca.ordersFor(host); n > 0 {
		t.Errorf("%d orders", n)
	}
	x := s.status(t, host)
	if !x.TLS || len(x.Certificates) != 1 || x.Certificates[0].Host != host || x.Certificates[0].NotAfter.Unix() != tomorrow.Unix() || x.Certificates[0].Error != "" {
		t.Errorf("list says %+v", x)
	}
}

// What is of no use is refused before anything changes, and the reason is clear.
func TestOwnCertificateOfNoUseIsRefused(t *testing.T) {
	t.Parallel()
	s := common.Get(t)
	host := newHost()
	s.deploy(t, startApp(t, named("old")).addr(), "--host", host, "--tls=internal").wantDone(t)
	good, _ := newFiles(t, tomorrow, host)
	other, _ := newFiles(t, tomorrow, host)
	expired, _ := newFiles(t, time.Now().Add(-time.Hour), host)
	elsewhere, _ := newFiles(t, tomorrow, "elsewhere."+domain)
	broken, _ := newFiles(t, tomorrow, host)
	must(t, os.WriteFile(broken.certificate, []byte("no PEM"), 0o600))
	for name, c := range map[string]struct {
		flags  []string
		reason string
	}{
		"the key of another": {files{good.certificate, other.key}.flags(), "private key does not match"},
		"expired":            {expired.flags(), "expired"},
		"another host":       {elsewhere.flags(), "does not cover " + host},
		"a missing file":     {files{good.certificate, good.key + ".missing"}.flags(), "no such file"},
		"no certificate":     {broken.flags(), broken.certificate},
		"no key":             {[]string{"--tls", "--tls-certificate-path", good.certificate}, "--tls-private-key-path"},
	} {
		d := s.deploy(t, append(c.flags, startApp(t, named("new")).addr(), "--host", host)...)
		if d.Code != 2 && d.Code != 12 || !strings.Contains(d.Stderr, c.reason) {
			t.Errorf("%s: %d %s", name, d.Code, d.Stderr)
		}
		s.wantBody(t, host, "old", s.internalRoots(t))
		if x := s.status(t, host); x.Active.Release != 1 {
			t.Errorf("%s: release %d serves", name, x.Active.Release)
		}
	}
}

// Whoever renews the files need not deploy. Half-written ones do no harm.
func TestOwnCertificateIsRenewedInPlace(t *testing.T) {
	t.Parallel()
	s := common.Get(t)
	host := newHost()
	f, first := newFiles(t, tomorrow, host)
	s.deploy(t, append(f.flags(), startApp(t, named("app")).addr(), "--host", host)...).wantDone(t)
	second, err := selfsigned.Between(time.Now(), tomorrow.Add(time.Hour), host)
	must(t, err)
	roots := first.Roots()
	roots.AppendCertsFromPEM(second.PEM)
	l := newLoad()
	for range 2 {
		c := s.client(t, h2, roots)
		l.user(fresh(c, fetch(c, "https://"+host+"/", "app")))
	}
	must(t, os.WriteFile(f.key, second.Key[:50], 0o600))
	waitFor(t, "list to tell of the broken file", func() bool { return s.status(t, host).Certificates[0].Error != "" })
	must(t, second.Write(f.certificate, f.key))
	waitFor(t, "the new certificate", func() bool { return s.leaf(t, host).NotAfter.Unix() == tomorrow.Add(time.Hour).Unix() })
	l.end(t)
	if x := s.status(t, host); x.Active.Release != 1 || x.Certificates[0].Error != "" || x.Certificates[0].NotAfter.Unix() != tomorrow.Add(time.Hour).Unix() {
		t.Errorf("list says %+v", x)
	}
}

// Trap 63: files that are gone at the next start are the trouble of their service
// alone.
func TestMissingCertificateFileIsTheTroubleOfOneService(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	lost, kept, plain := newHost(), newHost(), newHost()
	f, lostKey := newFiles(t, tomorrow, lost)
	s.deploy(t, append(f.flags(), startApp(t, named("lost")).addr(), "--host", lost)...).wantDone(t)
	s.deploy(t, startApp(t, named("kept")).addr(), "--host", kept, "--tls=internal").wantDone(t)
	s.deploy(t, startApp(t, named("plain")).addr(), "--host", plain).wantDone(t)
	must(t, os.Remove(f.certificate))
	s.restart(t)
	s.wantBody(t, kept, "kept", s.internalRoots(t))
	if a := s.get(t, "http://"+plain+"/", nil); a.StatusCode != http.StatusOK || a.body != "plain" {
		t.Errorf("the service without TLS: %s", a)
	}
	// It still has what it was deployed with.
	s.wantBody(t, lost, "lost", lostKey.Roots())
	if x := s.status(t, lost); x.Broken != "" || len(x.Certificates) != 1 || !strings.Contains(x.Certificates[0].Error, f.certificate) {
		t.Errorf("list says %+v", x)
	}
	if x := s.status(t, kept); x.Broken != "" || len(x.Certificates) != 1 || x.Certificates[0].Error != "" {
		t.Errorf("list says %+v", x)
	}
}
