package fleetstorage

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddyserver/certmagic"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/fleet"
)

func TestNewestPlanAloneIsDecidedOnce(t *testing.T) {
	b, ctx := New(&certmagic.FileStorage{Path: t.TempDir()}), t.Context()
	first, next := fleet.Plan{ID: "a", Service: "web"}, fleet.Plan{ID: "b", Service: "web"}
	var err error
	if first.Revision, err = b.Propose(ctx, first); err != nil {
		t.Fatal(err)
	}
	if next.Revision, err = b.Propose(ctx, next); err != nil || next.Revision <= first.Revision {
		t.Fatal(next.Revision, err)
	}
	if _, err := b.Decide(ctx, first); !errors.Is(err, fleet.ErrSuperseded) {
		t.Error(err)
	}
	revision, err := b.Decide(ctx, next)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := b.Decide(ctx, next); again != revision || err != nil {
		t.Error(again, err)
	}
	if _, err := b.Propose(ctx, fleet.Plan{ID: "c", Service: "web"}); !errors.Is(err, fleet.ErrSuperseded) {
		t.Error(err)
	}
}

func TestRouteIsOneServices(t *testing.T) {
	b, ctx := New(&certmagic.FileStorage{Path: t.TempDir()}), t.Context()
	routes := []api.Route{{Host: "a.test", Prefix: "/"}}
	for i, name := range []string{"one", "two"} {
		p := fleet.Plan{ID: name, Service: name, Routes: routes}
		var err error
		if p.Revision, err = b.Propose(ctx, p); err != nil {
			t.Fatal(err)
		}
		_, err = b.Decide(ctx, p)
		if _, claimed := errors.AsType[*fleet.ClaimedError](err); claimed != (i == 1) {
			t.Errorf("%s: %v", name, err)
		}
	}
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
	if _, err := b.Propose(ctx, fleet.Plan{ID: "b", Service: "web", Base: 7}); !errors.Is(err, errLost) {
		t.Error(err)
	}
}
