package proxy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// caFile writes what is to be in the file of an authority, and returns its path.
func caFile(t testing.TB, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAuthoritiesOfNoUseAreRefused(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	valid, expired := testkit.NewAuthority(t, "Valid", time.Now().Add(time.Hour)), testkit.NewAuthority(t, "Expired", time.Now().Add(-time.Hour))
	const readable, pem = "PEM file on the proxy's machine that the user of the proxy can read", "which begin with -----BEGIN CERTIFICATE-----"
	for name, c := range map[string]struct{ path, want, hint string }{
		"missing":      {filepath.Join(t.TempDir(), "ca.pem"), "no such file", readable},
		"a directory":  {t.TempDir(), "is not a file of at most", readable},
		"empty":        {caFile(t, nil), "has no certificate in it", pem},
		"no PEM":       {caFile(t, []byte("certificate")), "has no certificate in it", pem},
		"no DER":       {caFile(t, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")), "has no certificate in it", pem},
		"expired":      {caFile(t, expired.PEM), "has expired, the last one on " + time.Now().Add(-time.Hour).UTC().Format(time.DateOnly), "new certificate"},
		"one of three": {caFile(t, append(append(expired.PEM[:len(expired.PEM):len(expired.PEM)], "a comment\n"...), valid.PEM...)), "", ""},
	} {
		req := api.DeployRequest{Service: "app", Targets: []string{"https://" + testkit.RefusedAddress}, TargetCA: c.path, DeployTimeout: testkit.Milliseconds(1)}
		d, err := e.Deploy(req.Patch())
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else {
				_, _ = wait(t, d)
			}
			continue
		}
		wantCode(t, err, api.CodeInvalid)
		if e := api.AsError(err); !strings.Contains(e.Message, c.want) || !strings.Contains(e.Hint, c.hint) {
			t.Errorf("%s: %q, hint %q, want %q and %q", name, e.Message, e.Hint, c.want, c.hint)
		}
	}
}

// TestAuthorityIsKeptWithTheRelease so that neither a missing file nor another one costs
// what serves anything, over a restart. The next deploy uses what is there then.
func TestAuthorityIsKeptWithTheRelease(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	later := time.Now().Add(time.Hour)
	before, after := testkit.NewAuthority(t, "Before", later), testkit.NewAuthority(t, "After", later)
	path := caFile(t, before.PEM)
	deploy := func(by *testkit.Authority, name string) (api.DeployRequest, *testkit.App) {
		a := testkit.StartTLSApp(t, name, by.Issue(later, "127.0.0.1"))
		req := requestFor("app", a)
		req.TargetCA, req.DeployTimeout = path, testkit.Milliseconds(300)
		return req, a
	}
	first, _ := deploy(before, "first")
	e.deploy(first)
	e.wantAnswer("h", "/", "first")

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	restarted := loaded(t, e.store)
	restarted.wantAnswer("h", "/", "first")
	if err := os.WriteFile(path, after.PEM, 0o600); err != nil {
		t.Fatal(err)
	}
	restarted = loaded(t, e.store)
	restarted.wantAnswer("h", "/", "first")

	_, err := wait(t, restarted.start(first)) // which has a certificate from the old one
	wantCode(t, err, api.CodeNotHealthy)
	restarted.wantAnswer("h", "/", "first")
	next, _ := deploy(after, "next")
	restarted.deploy(next)
	restarted.wantAnswer("h", "/", "next")
}

// TestServiceComesBackWithoutItsAuthority also if nothing was stored of it.
func TestServiceComesBackWithoutItsAuthority(t *testing.T) {
	t.Parallel()
	store := newMemoryStore()
	store.put("app", []byte(`{"format": 1, "service": "app", "release": 7, "deployed_at": "2026-08-01T12:00:00Z",
		"targets": ["https://web:1"], "options": {"target_ca": "/nowhere/ca.pem"}}`))
	s, err := loaded(t, store).Service("app")
	if err != nil || s.Broken != "" || s.Active == nil || s.Active.Release != 7 {
		t.Errorf("%+v, %v", s, err)
	}
}
