package fleetstorage

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddyserver/certmagic"

	"github.com/parachute-proxy/parachute/internal/fleet"
	"github.com/parachute-proxy/parachute/internal/fleet/fleettest"
)

func TestStoreOnAStorageKeepsWhatStoresPromise(t *testing.T) {
	dir := t.TempDir()
	fleettest.Conform(t, func(*testing.T) fleet.Store { return New(&certmagic.FileStorage{Path: dir}) })
}

func TestStorageThatIsNotMountedIsNotTakenForAnEmptyOne(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shared")
	b, ctx := New(&certmagic.FileStorage{Path: dir}), t.Context()
	if _, err := b.Propose(ctx, fleet.Plan{ID: "a", Service: "web"}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Look(ctx); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, dir+".gone"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Propose(ctx, fleet.Plan{ID: "b", Service: "web", Base: 7}); !errors.Is(err, fleet.ErrLost) {
		t.Error(err)
	}
}

func TestStorageThatHasLostItsDataGetsThemBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shared")
	fleettest.Restored(t, fleettest.InProcess, func(*testing.T) fleet.Store { return New(&certmagic.FileStorage{Path: dir}) }, func() {
		// Until it is gone, the proxies write to it.
		for os.Rename(dir, dir+".gone") != nil {
		}
	})
}

func TestReleaseIsJudgedByWhatAllProxiesOfAStorageCount(t *testing.T) {
	dir := t.TempDir()
	fleettest.Verdict(t, fleettest.InProcess, func(*testing.T) fleet.Store { return New(&certmagic.FileStorage{Path: dir}) })
}

func TestDeploymentThatIsOvertakenWaitsUntilAllHaveDrained(t *testing.T) {
	dir := t.TempDir()
	fleettest.Overtaken(t, fleettest.InProcess, func(*testing.T) fleet.Store { return New(&certmagic.FileStorage{Path: dir}) })
}
