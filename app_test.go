package parachute

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

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

	d, err := engine.Deploy(proxy.DeployRequest{Targets: []string{"127.0.0.1:1"}, Force: true})
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
