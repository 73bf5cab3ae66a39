package integration

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig"
)

// Trap 47.
func TestForwardingHeadersAreBelievedFromTrustedProxiesOnly(t *testing.T) {
	echo := func(t *testing.T) *app {
		return startApp(t, "a", func(w http.ResponseWriter, r *http.Request) {
			_ = json.NewEncoder(w).Encode(r.Header)
		})
	}
	ask := func(t *testing.T, p *rig.Proxy) http.Header {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, p.URL(), nil)
		must(t, err)
		req.Host = "app.test"
		for name, value := range map[string]string{
			"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Host": "spoof.test", "X-Forwarded-Proto": "https",
			"Forwarded": "for=203.0.113.9", "X-Real-Ip": "203.0.113.9", "X-Forwarded-Port": "1", "X-Request-Id": "mine",
		} {
			req.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		defer resp.Body.Close()
		var seen http.Header
		must(t, json.NewDecoder(resp.Body).Decode(&seen))
		return seen
	}
	t.Run("untrusted", func(t *testing.T) {
		p := startProxy(t)
		deploy(t, p, to(echo(t)))
		seen := ask(t, p)
		for name, want := range map[string]string{
			"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "app.test", "X-Forwarded-Proto": "http",
			"Forwarded": "", "X-Real-Ip": "", "X-Forwarded-Port": "", "X-Request-Id": "mine",
		} {
			if got := strings.Join(seen[name], "|"); got != want {
				t.Errorf("%s is %q at the app, want %q", name, got, want)
			}
		}
	})
	t.Run("trusted", func(t *testing.T) {
		p := startProxy(t, "--trusted-proxies", "127.0.0.0/8,10.0.0.1")
		deploy(t, p, to(echo(t)))
		seen := ask(t, p)
		for name, want := range map[string]string{
			"X-Forwarded-For": "203.0.113.9, 127.0.0.1", "X-Forwarded-Host": "spoof.test", "X-Forwarded-Proto": "https",
			"Forwarded": "for=203.0.113.9", "X-Real-Ip": "203.0.113.9", "X-Forwarded-Port": "1",
		} {
			if got := strings.Join(seen[name], "|"); got != want {
				t.Errorf("%s is %q at the app, want %q", name, got, want)
			}
		}
	})
}

// Trap 57: the default endpoint is a socket of the user's own, in a directory of
// the user's own.
func TestOtherUsersCannotDriveDeploys(t *testing.T) {
	p := startProxy(t)
	socket := strings.TrimPrefix(p.Admin(), "unix/")
	info, err := os.Stat(socket)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the mode of the admin socket is %o", info.Mode().Perm())
	}
	if os.Getuid() != 0 {
		t.Skip("skipped: only root can become another user")
	}
	must(t, os.Chmod(p.Dir, 0o755)) // were the directory open, the socket would still be closed
	bin, err := rig.ParachuteBinary()
	must(t, err)
	open, err := os.CreateTemp("/tmp", "parachute-other-user-")
	must(t, err)
	defer os.Remove(open.Name())
	b, err := os.ReadFile(bin)
	must(t, err)
	_, err = open.Write(b)
	must(t, err)
	must(t, open.Close())
	must(t, os.Chmod(open.Name(), 0o755))

	cmd := exec.Command(open.Name(), "list", "--admin", p.Admin())
	cmd.Dir, cmd.Env = "/", []string{"HOME=/nonexistent"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 6 || !strings.Contains(string(out), "permission denied") {
		t.Errorf("another user: %d %s", code, out)
	}
}

// Trap 57, when the endpoint is on TCP, where browsers can reach it.
func TestBrowsersCannotDriveDeploys(t *testing.T) {
	p := newProxy(t)
	port, err := rig.FreePort()
	must(t, err)
	l := net.JoinHostPort("127.0.0.1", itoa(port))
	p.Args = []string{"--admin", l}
	bin, err := p.Command(append([]string{"run"}, p.RunArgs()...)...)
	must(t, err)
	must(t, bin.Start())
	defer func() {
		_ = bin.Process.Signal(syscall.SIGTERM)
		_ = bin.Wait()
	}()
	waitFor(t, "the admin endpoint", func() bool {
		resp, err := http.Get("http://" + l + "/parachute/services")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	for name, c := range map[string]struct {
		change func(*http.Request)
		status int
	}{
		"the command itself": {func(*http.Request) {}, http.StatusBadRequest}, // "{}" has no targets
		"a page elsewhere":   {func(r *http.Request) { r.Header.Set("Origin", "https://evil.test") }, http.StatusForbidden},
		"a rebound name":     {func(r *http.Request) { r.Host = "evil.test" }, http.StatusForbidden},
		"no CORS":            {func(r *http.Request) { r.Header.Set("Sec-Fetch-Mode", "no-cors") }, http.StatusBadRequest},
		"a sandboxed frame":  {func(r *http.Request) { r.Header.Set("Origin", "null") }, http.StatusBadRequest},
	} {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+l+"/parachute/services/x/deployments", strings.NewReader("{}"))
		must(t, err)
		c.change(req)
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		ours := strings.Contains(string(body), "at least one target")
		if resp.StatusCode != c.status || ours != (name == "the command itself") {
			t.Errorf("%s: %s %s", name, resp.Status, body)
		}
	}
}
