package parachute

import (
	"slices"
	"testing"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// A proxy that becomes part of a fleet brings the services that it has by then, until the fleet has them, also over a restart. It
// does so again when it was alone meanwhile.
func TestServicesOfAProxyThatWasAloneAreBroughtIntoAFleet(t *testing.T) {
	t.Parallel()
	own := &store{storage: &certmagic.FileStorage{Path: t.TempDir()}, logger: zap.NewNop()}
	save := func(service string) {
		t.Helper()
		if err := own.Save(t.Context(), service, []byte("{}"), func([]byte) bool { return true }); err != nil {
			t.Fatal(err)
		}
	}
	want := func(services ...string) {
		t.Helper()
		for range 2 { // to look changes nothing
			if _, _, err := (&fleetImports{store: own}).pending(); err != nil {
				t.Error(err)
			}
		}
		if err := (&fleetImports{store: own, shared: &certmagic.FileStorage{Path: t.TempDir()}}).begin(); err != nil {
			t.Error(err)
		}
		got, isNoted, err := (&fleetImports{store: own}).pending()
		slices.Sort(got)
		if err != nil || !isNoted || !slices.Equal(got, services) {
			t.Errorf("%v are brought, want %v; %v", got, services, err)
		}
	}
	save("web")
	save("*")
	want("*", "web")
	save("of-the-fleet")
	want("*", "web")
	(&fleetImports{store: own}).end()
	want()
	if err := (&fleetImports{store: own, logger: zap.NewNop()}).leave(); err != nil {
		t.Fatal(err)
	}
	save("later")
	want("*", "later", "of-the-fleet", "web")

	own = &store{storage: &certmagic.FileStorage{Path: t.TempDir()}, logger: zap.NewNop()}
	want()
	save("of-the-fleet")
	want()
	for range 2 {
		if err := (&fleetImports{store: own, logger: zap.NewNop()}).leave(); err != nil {
			t.Fatal(err)
		}
	}
}

// Certificates that a proxy has had are not ordered again by its fleet. What the fleet has stays, with the key that belongs to it.
func TestFleetGetsTheCertificatesOfAProxyThatWasAlone(t *testing.T) {
	t.Parallel()
	own, shared := &certmagic.FileStorage{Path: t.TempDir()}, &certmagic.FileStorage{Path: t.TempDir()}
	for _, key := range []string{
		"certificates/ca/a.test/a.test.crt", "certificates/ca/a.test/a.test.key", "acme/ca/users/u/u.json", "pki/root.crt",
		"certificates/ca/b.test/b.test.crt", "certificates/ca/b.test/b.test.key", "parachute/lock", "locks/x.lock",
	} {
		if err := own.Store(t.Context(), key, []byte("ours")); err != nil {
			t.Fatal(err)
		}
	}
	if err := shared.Store(t.Context(), "certificates/ca/b.test/b.test.key", []byte("theirs")); err != nil {
		t.Fatal(err)
	}
	imports := &fleetImports{store: &store{storage: own, logger: zap.NewNop()}, shared: shared}
	for range 2 {
		if err := imports.share(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for key, want := range map[string]string{
		"certificates/ca/a.test/a.test.crt": "ours", "certificates/ca/a.test/a.test.key": "ours", "acme/ca/users/u/u.json": "ours", "pki/root.crt": "ours",
		"certificates/ca/b.test/b.test.crt": "", "certificates/ca/b.test/b.test.key": "theirs", "parachute/lock": "", "locks/x.lock": "",
	} {
		if got, _ := shared.Load(t.Context(), key); string(got) != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
}
