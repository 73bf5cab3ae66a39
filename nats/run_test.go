package nats

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/parachute-proxy/parachute/internal/run"
)

// The certificates of a fleet on NATS are in NATS, unless the user has a storage for them.
func TestCertificatesAreInNATSUnlessThereIsAStorage(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_DATA_HOME", filepath.Join(dir, "data"))
	file := filepath.Join(dir, "config.json")
	if err := os.WriteFile(file, []byte(`{"storage": {"module": "file_system", "root": "/users"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := []string{"--admin", filepath.Join(dir, "admin.sock"), "--fleet", "nats://10.0.0.1", "--fleet-server", "10.0.0.1", "--fleet-secret-file", filepath.Join(dir, "secret"), "--fleet-name", "a", "--fleet-dir", filepath.Join(dir, "fleet")}
	shared := map[string]any{
		"module": "parachute_nats", "url": "nats://10.0.0.1", "server": "10.0.0.1", "secret_file": filepath.Join(dir, "secret"),
		"name": "a", "dir": filepath.Join(dir, "fleet"), "local": filepath.Join(dir, "data", "caddy"),
	}
	for name, tc := range map[string]struct {
		flags []string
		want  map[string]any
	}{
		"neither":   {nil, shared},
		"--storage": {[]string{"--storage", "/shared"}, map[string]any{"module": "file_system", "root": "/shared"}},
		"--config":  {[]string{"--config", file}, map[string]any{"module": "file_system", "root": "/users"}},
	} {
		content, err := run.Config(append(flags, tc.flags...)...)
		if err != nil {
			t.Fatal(err)
		}
		var config struct {
			Storage map[string]any
			Apps    struct {
				Parachute struct {
					Fleet struct{ Store map[string]any }
				}
			}
		}
		if err := json.Unmarshal(content, &config); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(config.Storage, tc.want) {
			t.Errorf("%s: %v, want %v", name, config.Storage, tc.want)
		}
		// Where they are the same, the storage and the fleet share one connection and one server.
		for _, key := range []string{"url", "server", "secret_file"} {
			if got := config.Apps.Parachute.Fleet.Store[key]; got != shared[key] {
				t.Errorf("%s: %s of the fleet is %v", name, key, got)
			}
		}
	}

	// A directory that was the storage of a proxy has its certificates.
	if err := os.MkdirAll(filepath.Join(dir, "fleet", "certificates"), 0o700); err != nil {
		t.Fatal(err)
	}
	content, err := run.Config(flags...)
	if err != nil {
		t.Fatal(err)
	}
	var config struct{ Storage struct{ Local string } }
	if err := json.Unmarshal(content, &config); err != nil || config.Storage.Local != filepath.Join(dir, "fleet") {
		t.Errorf("those of the proxy are in %q; %v", config.Storage.Local, err)
	}
}
