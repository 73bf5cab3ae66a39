package fleetstorage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
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

func TestServicesThatAProxyHadBeforeAreImported(t *testing.T) {
	dir := t.TempDir()
	fleettest.Imported(t, fleettest.InProcess, func(*testing.T) fleet.Store { return New(&certmagic.FileStorage{Path: dir}) })
}

// slowStorage has something happen before a file is read.
type slowStorage struct {
	certmagic.Storage
	before func(key string)
}

func (s slowStorage) Load(ctx context.Context, key string) ([]byte, error) {
	s.before(key)
	return s.Storage.Load(ctx, key)
}

// A look that is so slow that two services are decided about meanwhile does not say that it has both decisions if it has the later
// one alone.
func TestSlowLookKnowsWhatItMayLack(t *testing.T) {
	files := &certmagic.FileStorage{Path: t.TempDir()}
	writer := New(files)
	decide := func(service, plan string) {
		t.Helper()
		p := fleet.Plan{ID: plan, Service: service}
		if s, err := writer.Look(t.Context()); err == nil {
			d, _ := s.Decision(service)
			p.Base = d.Revision
		}
		_, err := writer.Propose(t.Context(), p)
		if err == nil {
			_, err = writer.Decide(t.Context(), p)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	decide("a", "a1")
	decide("z", "z1")
	once := sync.OnceFunc(func() {
		decide("a", "a2")
		decide("z", "z2")
	})
	seen, err := New(slowStorage{files, func(k string) {
		if k == key("services", "z") {
			once()
		}
	}}).Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all, err := writer.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all.Decisions {
		if has, _ := seen.Decision(d.Service); d.Revision <= seen.Revision && has.Revision != d.Revision {
			t.Errorf("the look that says that it has all up to %d has the decision %d of %s, and not %d", seen.Revision, has.Revision, d.Service, d.Revision)
		}
	}
	if all.Revision < 4 {
		t.Errorf("a look at ease has all up to %d", all.Revision)
	}
}
