package integration

import (
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
)

// A disk that is full while a body is buffered is the problem of that request alone.
func TestFullDiskWhileBufferingHarmsNobodyElse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=512k"); err != nil {
		t.Skipf("mounting a file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	p := startProxy(t, "--buffer-dir", dir)
	small := api.Size(1 << 10)
	echo := startApp(t, "echo", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	})
	other := startApp(t, "other", nil)
	deploy(t, p, api.DeployRequest{Service: "web", Hosts: []string{"web.test"}, Targets: []string{echo.addr()}, BufferRequests: true, BufferResponses: true, BufferMemory: &small})
	deploy(t, p, api.DeployRequest{Service: "other", Hosts: []string{"other.test"}, Targets: []string{other.addr()}})
	post := func(size int) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, p.URL(), strings.NewReader(strings.Repeat("x", size)))
		must(t, err)
		req.Host = "web.test"
		resp, err := (&http.Client{Timeout: patience}).Do(req)
		must(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		must(t, err)
		return resp, string(body)
	}
	if resp, body := post(2 << 20); resp.StatusCode != http.StatusInsufficientStorage || resp.Header.Get("X-Parachute-Error") != "no_room" {
		t.Errorf("an upload that the disk has no room for: %s %s", resp.Status, body)
	}
	waitFor(t, "the reason in the log", func() bool { return strings.Contains(p.Log(), "no space left on device") })
	if resp, body := post(200 << 10); resp.StatusCode != http.StatusOK || len(body) != 200<<10 {
		t.Errorf("the next upload: %s, %d bytes", resp.Status, len(body))
	}
	if _, body := get(t, p, "other.test", "/"); body != "other" {
		t.Errorf("another service answers %q", body)
	}
	deploy(t, p, api.DeployRequest{Service: "other", Hosts: []string{"other.test"}, Targets: []string{echo.addr()}})
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("files are left behind: %v, %v", files, err)
	}
	text := ourMetrics(t, p).text
	for _, want := range []string{"parachute_buffer_full_total 1\n", `parachute_buffered_bytes{place="disk"} 0` + "\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %q", want)
		}
	}
}
