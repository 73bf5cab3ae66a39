package integration

import (
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Trap 59: a config that cannot be provisioned or started is refused, whichever of
// its apps had been started by then, and nothing that goes on notices.
func TestRefusedReloadChangesNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	broken := map[string]string{
		"an impossible service":   "http://broken.example.com {\n\tparachute ../x\n}",
		"a missing certificate":   "broken.example.com {\n\ttls /nonexistent/cert.pem /nonexistent/key.pem\n}",
		"a port that is taken":    fmt.Sprintf("http://:%d {\n\trespond x\n}", taken.Addr().(*net.TCPAddr).Port),
		"a directive nobody has":  "http://broken.example.com {\n\tnonsense\n}",
		"a matcher out of bounds": "http://broken.example.com {\n\t@x remote_ip nowhere\n\trespond @x y\n}",
	}
	eachWayToReload(t, func(t *testing.T, p *reloadable) {
		quiet := startExample(t, "quiet")
		deploy(t, p.Proxy, api.DeployRequest{Targets: []string{quiet.Addr}})
		ws := openWebSocket(t, p.Proxy, "quiet.example.com")

		apps := []*app{startApp(t, "a", nil), startApp(t, "b", nil)}
		deploy(t, p.Proxy, requestFor("app.example.com", apps[0]))
		// Connections that are open; for fresh ones see TestWhatAReloadCosts.
		load := startLoad(t, p.URL()+"/up", 2, false)
		load.waitForMore(t, 20)
		get(t, p.Proxy, "app.example.com", "/")
		deploys := 0
		for name, sites := range broken {
			// Apps start in no order: a few tries see more than one.
			for range 3 {
				p.write(sites)
				p.generation--
				if p.try() == nil {
					t.Fatalf("a config with %s was loaded", name)
				}
				settle(t, p.Proxy)
				deploys++
				deploy(t, p.Proxy, requestFor("app.example.com", apps[deploys%2]))
				if _, body := get(t, p.Proxy, "app.example.com", "/"); body != apps[deploys%2].name {
					t.Errorf("after %s, %q answers", name, body)
				}
				ws.SetDeadline(time.Now().Add(patience))
				must(t, ws.Send(name))
				if got, err := ws.Receive(); err != nil || got != name {
					t.Fatalf("after %s, the WebSocket got %q, %v", name, got, err)
				}
			}
		}
		if outcome := load.end(); load.failed.Load() > 0 {
			t.Error(outcome)
		}
		if got := p.answer("/generation"); got != fmt.Sprint(p.generation) {
			t.Errorf("%s is the config instead of %d", got, p.generation)
		}
		p.reload()
		settle(t, p.Proxy)
		s := services(t, p)
		if len(s) != 2 || s[0].Active.Release != deploys+1 {
			t.Errorf("after a good reload the list has %+v", s)
		}
	})
}

// `caddy validate` provisions all that a config has, beside a proxy that uses the
// same storage.
func TestValidateTouchesNothing(t *testing.T) {
	p := startProxy(t)
	var probes atomic.Int64
	probed := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { probes.Add(1) }))
	t.Cleanup(probed.Close)
	// The proxy itself will not look again for an hour.
	deploy(t, p, api.DeployRequest{
		Targets:             []string{probed.Listener.Addr().String()},
		HealthCheckInterval: duration(time.Hour),
	})
	storage := filepath.Join(p.Dir, "storage")
	file := filepath.Join(p.Dir, "Caddyfile")
	must(t, os.WriteFile(file, fmt.Appendf(nil, `{
	storage file_system %s
	parachute {
		grace_period 5s
	}
}
http://:%d {
	parachute
}
http://:%d {
	reverse_proxy {
		dynamic parachute default
	}
}
`, storage, p.HTTPPort, p.HTTPSPort), 0o600))

	before, probesBefore := snapshot(t, storage), probes.Load()
	if r := run(t, p, "caddy", "validate", "--config", file); r.Code != 0 {
		t.Fatalf("validate ended with %d: %s", r.Code, r.Stderr)
	}
	after := snapshot(t, storage)
	for path := range before {
		if after[path] != before[path] {
			t.Errorf("%s was\n%s and is\n%s", path, before[path], after[path])
		}
	}
	for path := range after {
		if _, ok := before[path]; !ok {
			t.Errorf("%s is new", path)
		}
	}
	if n := probes.Load() - probesBefore; n != 0 {
		t.Errorf("the app got %d requests", n)
	}
}

// snapshot returns what is in a directory: contents, and when they were written.
// It leaves out what Caddy keeps there for itself.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	must(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name() == "last_clean.json" {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		all[path] = info.ModTime().Format(time.RFC3339Nano) + " " + string(content)
		return err
	}))
	if len(all) == 0 {
		t.Fatalf("%s is empty", dir)
	}
	return all
}
