package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
	"github.com/parachute-proxy/parachute/internal/api"
)

func TestMain(m *testing.M) { rigtest.Main(m) }

var must = rigtest.Must

// program is the proxy with the plugin.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "parachute-plugins-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "parachute")
	out, err := exec.Command("go", append(append([]string{"build", "-o", path}, rig.BuildFlags...), ".")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building: %w\n%s", err, out)
	}
	return path, nil
})

// startProxy returns a proxy whose program is a link that leads to the one with the plugin.
func startProxy(t *testing.T) *rig.Proxy {
	t.Helper()
	with, err := program()
	must(t, err)
	p := rigtest.NewProxy(t)
	p.Program = filepath.Join(p.Dir, "parachute")
	must(t, os.Symlink(with, p.Program))
	must(t, p.Start())
	return p
}

// without has the proxy's program be one that lacks the plugin.
func without(t *testing.T, p *rig.Proxy) {
	t.Helper()
	plain, err := rig.ParachuteBinary()
	must(t, err)
	must(t, os.Remove(p.Program))
	must(t, os.Symlink(plain, p.Program))
}

func startApp(t *testing.T) string {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "app") }))
	t.Cleanup(app.Close)
	return app.Listener.Addr().String()
}

func deploy(t *testing.T, p *rig.Proxy, req api.DeployRequest) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), rigtest.Patience)
	defer cancel()
	_, err := p.Deploy(ctx, req)
	must(t, err)
}

// ask returns the status of an answer.
func ask(t *testing.T, p *rig.Proxy, method, host, path string) int {
	t.Helper()
	req, err := http.NewRequest(method, p.URL()+path, nil)
	must(t, err)
	req.Host = host
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	must(t, err)
	return resp.StatusCode
}

// statuses counts the answers to a number of requests.
func statuses(t *testing.T, p *rig.Proxy, n int, method, host, path string) string {
	t.Helper()
	counts := make(map[int]int)
	for range n {
		counts[ask(t, p, method, host, path)]++
	}
	return fmt.Sprint(counts)
}

// TestRateLimitsByPath is the recipe of docs/HANDLERS.md, as it is written but for the address of
// the application and certificates.
func TestRateLimitsByPath(t *testing.T) {
	recipes, err := rig.ReadRecipes("../../docs/HANDLERS.md")
	must(t, err)
	r := recipes[len(recipes)-1]
	p := startProxy(t)
	dir := t.TempDir()
	for name, text := range r.Files {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	names := strings.NewReplacer("web-2:3000", startApp(t), " --tls", "", "parachute ", p.Program+" ")
	for _, command := range r.Commands {
		cmd := exec.Command("sh", "-c", names.Replace(command))
		cmd.Dir, cmd.Env = dir, append(p.Environ(), "PARACHUTE_ADMIN="+p.Admin())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	if got := statuses(t, p, 8, http.MethodPost, "app1.example.com", "/login"); got != "map[200:5 429:3]" {
		t.Errorf("8 logins: %s", got)
	}
	if got := statuses(t, p, 100, http.MethodGet, "app1.example.com", "/"); got != "map[200:92 429:8]" {
		t.Errorf("100 other requests after 8: %s", got)
	}
}

// TestRateLimitsBelongToTheirService and live through deploys and reloads of it.
func TestRateLimitsBelongToTheirService(t *testing.T) {
	p := startProxy(t)
	app := startApp(t)
	for _, host := range []string{"a.test", "b.test"} {
		deploy(t, p, api.DeployRequest{Hosts: []string{host}, Targets: []string{app}, RateLimit: "10/1h"})
	}
	if got := statuses(t, p, 6, http.MethodGet, "a.test", "/"); got != "map[200:6]" {
		t.Errorf("6 requests: %s", got)
	}
	deploy(t, p, api.DeployRequest{Hosts: []string{"a.test"}, Targets: []string{app}, RateLimit: "10/1h"})
	if got := statuses(t, p, 6, http.MethodGet, "a.test", "/"); got != "map[200:4 429:2]" {
		t.Errorf("6 requests after a deploy: %s", got)
	}
	if got := statuses(t, p, 6, http.MethodGet, "b.test", "/"); got != "map[200:6]" {
		t.Errorf("6 requests to another service: %s", got)
	}
}

// TestProgramWithoutThePlugin does not serve what needs it, and an upgrade to it is refused.
func TestProgramWithoutThePlugin(t *testing.T) {
	p := startProxy(t)
	app := startApp(t)
	deploy(t, p, api.DeployRequest{Hosts: []string{"limited.test"}, Targets: []string{app}, RateLimit: "1000/1m"})
	deploy(t, p, api.DeployRequest{Hosts: []string{"other.test"}, Targets: []string{app}, Compress: true})
	without(t, p)
	if _, err := p.Upgrade(); err == nil {
		t.Error("the upgrade was not refused")
	}
	if status := ask(t, p, http.MethodGet, "limited.test", "/"); status != 200 {
		t.Errorf("after the upgrade that was refused: %d", status)
	}
	_, err := p.Stop(rigtest.Patience)
	must(t, err)
	must(t, p.Start())
	for host, want := range map[string]int{"limited.test": 503, "other.test": 200} {
		if status := ask(t, p, http.MethodGet, host, "/"); status != want {
			t.Errorf("%s: %d, want %d", host, status, want)
		}
	}
	list, err := p.Run("list", "--wide")
	must(t, err)
	if !strings.Contains(list.Stdout, "broken: v1 refuses requests") {
		t.Errorf("list shows\n%s", list.Stdout)
	}
}
