package proxy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

func TestOwnCertificatesOfNoUseAreRefused(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a := testkit.StartApp(t, "a")
	const readable, belonging = "PEM files on the proxy's machine that the user of the proxy can read", "the private key of that certificate"
	for want, c := range map[string]struct {
		hint  string
		spoil func(*pemFiles)
	}{
		"private key does not match public key":    {belonging, func(f *pemFiles) { f.put(f.key, read(t, newPEMFiles(t, "a.test").key)) }},
		"the certificate has expired on":           {"renew it", func(f *pemFiles) { f.expiry = time.Now().Add(-time.Minute); f.write("a.test") }},
		"not valid before":                         {"check the clock", func(f *pemFiles) { f.notBefore = time.Now().Add(time.Hour); f.write("a.test") }},
		"does not cover a.test; it covers b.test":  {"get a certificate that also covers a.test, or leave that host out of `hosts`", func(f *pemFiles) { f.write("b.test") }},
		"does not cover a.test; it covers no name": {"get a certificate that also covers a.test", func(f *pemFiles) { f.write() }},
		"no such file":                             {readable, func(f *pemFiles) { _ = os.Remove(f.key) }},
		"is not a file of at most":                 {readable, func(f *pemFiles) { f.put(f.certificate, make([]byte, maxPEM+1)) }},
		"failed to find any PEM data":              {belonging, func(f *pemFiles) { f.put(f.certificate, []byte("certificate")) }},
	} {
		files := newPEMFiles(t, "a.test")
		c.spoil(files)
		req := requestFor("a", a)
		req.Hosts, req.TLS = []string{"a.test"}, files.request()
		before := e.picture()
		_, err := e.Deploy(req.Patch())
		wantCode(t, err, api.CodeInvalid)
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got the error %q instead of one with %q", err, want)
		}
		if hint := api.AsError(err).Hint; !strings.Contains(hint, c.hint) {
			t.Errorf("%s: got the hint %q instead of one with %q", want, hint, c.hint)
		}
		if after := e.picture(); after != before {
			t.Errorf("%s: the refusal has changed something", want)
		}
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOwnCertificatesCoverWildcards(t *testing.T) {
	leaf := func(names ...string) error {
		return checkLeaf(newPEMFiles(t, names...).pair().current.Load().certificate.Leaf, []string{"*.a.test", "b.test"}, time.Now())
	}
	if err := leaf("*.a.test", "b.test"); err != nil {
		t.Error(err)
	}
	for _, names := range [][]string{{"a.test", "b.test"}, {"x.a.test", "b.test"}, {"*.a.test", "*.b.test"}} {
		if leaf(names...) == nil {
			t.Errorf("a certificate for %v covers *.a.test and b.test", names)
		}
	}
}

func TestRenewedFilesAreUsedIfTheyAreOfUse(t *testing.T) {
	t.Parallel()
	files := newPEMFiles(t, "a.test")
	k := files.pair("a.test")
	reload := func(want int64, problem string) {
		t.Helper()
		k.reload(zap.NewNop(), time.Now())
		if k.serial() != want {
			t.Errorf("the certificate with the number %d is in use, want %d", k.serial(), want)
		}
		status := k.certificates(zap.NewNop())[0]
		if status.Host != "a.test" || !strings.Contains(status.Error, problem) || problem == "" && status.Error != "" {
			t.Errorf("described as %+v, want a problem with %q", status, problem)
		}
	}
	reload(1, "")
	files.write("a.test")
	reload(2, "")
	files.write("b.test")
	reload(2, "does not cover a.test")
	_ = os.Remove(files.certificate)
	reload(2, "no such file")
	files.write("a.test", "b.test")
	reload(4, "")
}

// Trap 63: a file that is missing at a start costs nothing, and one that never was
// there costs its service alone.
func TestMissingCertificateFilesCostNobodyElse(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a, b := testkit.StartApp(t, "a"), testkit.StartApp(t, "b")
	files := newPEMFiles(t, "a.test")
	req := requestFor("a", a)
	req.Hosts, req.TLS = []string{"a.test"}, files.request()
	req.TLS.Redirect = new(false)
	e.deploy(req)
	e.deploy(requestFor("b", b))
	_ = os.Remove(files.certificate)
	_ = os.Remove(files.key)

	again := loaded(t, e.store)
	if site, ok := again.TLSName("a.test"); !ok || site.Certificate == nil || site.Certificate.Leaf.SerialNumber.Int64() != 1 {
		t.Errorf("without its files, a.test is answered with %+v, %t", site, ok)
	}
	if s, _ := again.Service("a"); len(s.Certificates) != 1 || !strings.Contains(s.Certificates[0].Error, "no such file") {
		t.Errorf("the missing files are shown as %+v", s.Certificates)
	}

	stripped := newMemoryStore()
	for name, generations := range e.store.dump() {
		text := string(generations[0])
		if i := strings.Index(text, `,
  "key_pair"`); i > 0 {
			text = text[:i] + "\n}"
		}
		stripped.put(name, []byte(text))
	}
	without := loaded(t, stripped)
	if _, ok := without.TLSName("a.test"); ok {
		t.Error("a service without any certificate has one")
	}
	without.wantAnswer("a.test", "/", "a")
	without.wantAnswer("b.test", "/", "b")
	if s, _ := without.Service("a"); len(s.Certificates) != 1 || s.Certificates[0].Error == "" {
		t.Errorf("a certificate that cannot be read is shown as %+v", s.Certificates)
	}
}

func TestNamesOfACertificateAreListedOnce(t *testing.T) {
	files := newPEMFiles(t, "b.test", "a.test", "b.test")
	var hosts []string
	for _, c := range files.pair().certificates(zap.NewNop()) {
		hosts = append(hosts, c.Host)
	}
	if got := strings.Join(hosts, " "); got != "a.test b.test" {
		t.Errorf("listed: %s", got)
	}
}

func TestKeyPairsAreRestoredFromWhatWasStored(t *testing.T) {
	files := newPEMFiles(t, "a.test")
	stored := files.pair("a.test").current.Load().pem
	k := newKeyPair(&api.TLSOptions{CertificatePath: "/nonexistent/c.pem", PrivateKeyPath: "/nonexistent/k.pem"}, []string{"a.test"})
	if problem, err := k.restore(&stored, time.Now()); err != nil || !errors.Is(problem, fs.ErrNotExist) || k.serial() != 1 {
		t.Errorf("restored with the problem %v, %v", problem, err)
	}
	for _, bad := range []*pemPair{nil, {}, {Certificate: stored.Certificate}} {
		if _, err := k.restore(bad, time.Now()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("restoring from %v: %v", bad, err)
		}
	}
}

// What is stored is as old as the deploy. If that is all there is and it has expired, the
// start says so.
func TestStartTellsOfAnExpiredCertificate(t *testing.T) {
	t.Parallel()
	for want, expiry := range map[string]time.Time{
		"the certificate of the last deploy is":          time.Now().Add(time.Hour),
		"the certificate of the last deploy has expired": time.Now().Add(-time.Minute),
	} {
		files := newPEMFiles(t)
		files.expiry = expiry
		files.write("a.test")
		stored := pemPair{string(read(t, files.certificate)), string(read(t, files.key))}
		_ = os.Remove(files.certificate)
		core, logged := observer.New(zap.WarnLevel)
		e := newTestEngine(t, func(o *EngineOptions) { o.Logger = zap.New(core) })
		r := &release{Spec: &api.Spec{Service: "a"}, keyPair: newKeyPair(&api.TLSOptions{CertificatePath: files.certificate, PrivateKeyPath: files.key}, []string{"a.test"})}
		e.restoreKeyPair(r, &stored)
		if all := logged.All(); len(all) != 1 || !strings.Contains(all[0].Message, want) || !strings.Contains(fmt.Sprint(all[0].ContextMap()), "no such file") {
			t.Errorf("logged %v, want %q", all, want)
		}
		if r.keyPair.serial() != 2 {
			t.Error("the certificate that was stored is not used")
		}
	}
}
