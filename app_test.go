package parachute

import (
	"context"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

// A config that fails to start has been started in part: its storage, which is
// closed with it, must not stay with the engine.
func TestFailedReloadGivesTheStorageBack(t *testing.T) {
	old, failed := t.TempDir(), t.TempDir()
	storeIn := func(dir string) *store { return &store{storage: &certmagic.FileStorage{Path: dir}} }
	engine := proxy.NewEngine(proxy.EngineOptions{Store: storeIn(old)})
	t.Cleanup(engine.Close)
	first := &App{engine: engine, store: storeIn(old), logger: zap.NewNop()}
	second := &App{engine: engine, store: storeIn(failed), logger: zap.NewNop()}
	for _, step := range []func() error{first.Start, second.Start, second.Stop} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = first.Stop() })

	d, err := engine.Deploy(api.DeployRequest{Targets: []string{"127.0.0.1:1"}, Force: true}.Patch())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
	document := filepath.Join("parachute", "services", "default", "current.json")
	if _, err := os.Stat(filepath.Join(old, document)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(failed, document)); err == nil {
		t.Errorf("the release was stored where the config that failed has its state")
	}
}

// storageOnAFullDisk takes no current document of a service when it is full.
type storageOnAFullDisk struct {
	certmagic.FileStorage
	full bool
}

func (s *storageOnAFullDisk) Store(ctx context.Context, key string, value []byte) error {
	if s.full && path.Base(key) == "current.json" {
		return syscall.ENOSPC
	}
	return s.FileStorage.Store(ctx, key, value)
}

// A service whose newest document is damaged serves what the one before says. A deploy
// that fails must not put the damaged one in its place.
func TestFailedDeployKeepsTheStateThatLoads(t *testing.T) {
	deploy := func(e *proxy.Engine, target string) error {
		d, err := e.Deploy(api.DeployRequest{Service: "app", Targets: []string{target}, Force: true}.Patch())
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.Wait(t.Context())
		return err
	}
	for _, damaged := range []string{"{}", "null", `{"format": 1, "service": "app", "release": 2, "targets": []}`, "torn"} {
		dir := t.TempDir()
		storage := &storageOnAFullDisk{FileStorage: certmagic.FileStorage{Path: dir}}
		first := proxy.NewEngine(proxy.EngineOptions{Store: &store{storage: storage}})
		t.Cleanup(first.Close)
		for _, target := range []string{"127.0.0.1:1", "127.0.0.1:2"} {
			if err := deploy(first, target); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, currentKey("app")), []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		restart := func() *proxy.Engine {
			e := proxy.NewEngine(proxy.EngineOptions{Store: &store{storage: storage}})
			t.Cleanup(e.Close)
			if err := e.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			status, err := e.Service("app")
			if err != nil || status.Active == nil || status.Active.Targets[0].Address != "127.0.0.1:1" {
				t.Errorf("%s: after a start: %+v, %v", damaged, status, err)
			}
			return e
		}
		second := restart()
		storage.full = true
		if err := deploy(second, "127.0.0.1:3"); err == nil {
			t.Errorf("%s: a deploy whose release cannot be stored succeeds", damaged)
		}
		restart()
	}
}

// An app that goes and was not the newest changes nothing for the one that is, however
// often it is told to go.
func TestOnlyTheNewestAppIsReplaced(t *testing.T) {
	var l appList
	first, second, third := new(App), new(App), new(App)
	for _, a := range []*App{first, second, third} {
		l.add(a)
	}
	for _, step := range []struct{ gone, want *App }{{first, nil}, {first, nil}, {third, second}, {third, nil}, {second, nil}} {
		if got := l.remove(step.gone); got != step.want {
			t.Errorf("another app is told to take over")
		}
	}
}
