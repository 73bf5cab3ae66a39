package parachute

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/fleet"
)

// A proxy that becomes part of a fleet brings the services that it has by then, until the fleet has them, also over a restart, and
// none that are stored later.
func TestServicesOfAProxyThatWasAloneAreBroughtIntoAFleet(t *testing.T) {
	t.Parallel()
	own := &store{storage: &certmagic.FileStorage{Path: t.TempDir()}, logger: zap.NewNop()}
	save := func(service string) {
		t.Helper()
		if err := own.Save(t.Context(), service, []byte("{}"), func([]byte) bool { return true }); err != nil {
			t.Fatal(err)
		}
	}
	start := func(services ...string) *fleetImports {
		t.Helper()
		i := &fleetImports{store: own, logger: zap.NewNop()}
		pending, _, err := i.pending()
		slices.Sort(pending.Services)
		if err != nil || !slices.Equal(pending.Services, services) {
			t.Errorf("%+v are brought, want %v; %v", pending, services, err)
		}
		if err := i.begin(&certmagic.FileStorage{Path: t.TempDir()}); err != nil {
			t.Error(err)
		}
		return i
	}
	save("web")
	save("*")
	if _, isNoted, err := (&fleetImports{store: own}).pending(); err != nil || isNoted {
		t.Errorf("it is noted without a start; %v", err)
	}
	start("*", "web")
	save("of-the-fleet")
	base := uint64(7)
	if err := start("*", "web").note(fleet.Imports{Services: []string{"web"}, Base: &base}); err != nil {
		t.Fatal(err)
	}
	i := start("web")
	if pending, _, _ := i.pending(); pending.Base == nil || *pending.Base != 7 {
		t.Errorf("%+v", pending)
	}
	if err := i.note(fleet.Imports{}); err != nil {
		t.Fatal(err)
	}
	start()
	own = &store{storage: &certmagic.FileStorage{Path: t.TempDir()}, logger: zap.NewNop()}
	start()
	save("of-the-fleet")
	start()
}

// failingStorage fails to store a key as long as fails is it.
type failingStorage struct {
	certmagic.FileStorage
	fails string
}

func (s *failingStorage) Store(ctx context.Context, key string, value []byte) error {
	if key == s.fails {
		return syscall.ENOSPC
	}
	return s.FileStorage.Store(ctx, key, value)
}

// Certificates that a proxy has had are not ordered again by its fleet. What the fleet has stays, with the key that belongs to it.
func TestFleetGetsTheCertificatesOfAProxyThatWasAlone(t *testing.T) {
	t.Parallel()
	own, shared := &certmagic.FileStorage{Path: t.TempDir()}, &failingStorage{FileStorage: certmagic.FileStorage{Path: t.TempDir()}}
	for _, key := range []string{
		"certificates/ca/a.test/a.test.crt", "certificates/ca/a.test/a.test.key", "acme/ca/users/u/u.json", "pki/root.crt", "certificates/local/c.test/c.test.crt",
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
	shared.fails = "certificates/ca/a.test/a.test.key"
	if err := imports.share(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the storage is full: %v", err)
	}
	shared.fails = ""
	for range 2 {
		if err := imports.share(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for key, want := range map[string]string{
		"certificates/ca/a.test/a.test.crt": "ours", "certificates/ca/a.test/a.test.key": "ours", "acme/ca/users/u/u.json": "ours", "pki/root.crt": "", "certificates/local/c.test/c.test.crt": "",
		"certificates/ca/b.test/b.test.crt": "", "certificates/ca/b.test/b.test.key": "theirs", "parachute/lock": "", "locks/x.lock": "",
	} {
		if got, _ := shared.Load(t.Context(), key); string(got) != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
}
