package integration

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/internal/api"
)

// TestAThousandHeldUploadsCostLittleMemory and all of them are answered by the release that was
// deployed meanwhile. What has no place any more is told when to come again.
func TestAThousandHeldUploadsCostLittleMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the memory of the proxy is read from /proc")
	}
	const held, size, mostMiB = 1000, 256 << 10, 96
	p := startProxy(t)
	answer := func(name string) *app {
		return startApp(t, name, func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			w.Header().Set("X-Read", fmt.Sprint(n, err))
		})
	}
	// They are all served at once, which takes its time with the race detector.
	release := func(name string) api.DeployRequest {
		req := to(answer(name))
		req.TargetTimeout = duration(4 * patience)
		return req
	}
	deploy(t, p, release("before"))
	wantRun(t, p, 0, "pause", "default", "--queue", strconv.Itoa(held), "--max-wait", "5m")
	before := residentMiB(t, p.PID())

	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: held}, Timeout: 4 * patience}
	body := bytes.Repeat([]byte("x"), size)
	answered := make(chan string, held)
	for range held {
		go func() {
			resp, err := client.Post(p.URL()+"/upload", "application/octet-stream", bytes.NewReader(body))
			if err != nil {
				answered <- err.Error()
				return
			}
			resp.Body.Close()
			answered <- fmt.Sprintf("%d %s %s", resp.StatusCode, resp.Header.Get("X-Instance"), resp.Header.Get("X-Read"))
		}()
	}
	waitFor(t, "held requests", func() bool { return services(t, p)[0].Hold.Waiting == held })
	if more := residentMiB(t, p.PID()) - before; more > mostMiB && !rig.RaceEnabled { // which has a price of its own
		t.Errorf("%d held uploads of %d KiB cost %d MiB, and may cost %d", held, size>>10, more, mostMiB)
	} else {
		t.Logf("%d held uploads of %d KiB cost %d MiB", held, size>>10, more)
	}
	if resp, _ := get(t, p, "app.test", "/"); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("one more gets %d, to come again in %q", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	deploy(t, p, release("next"))
	wantRun(t, p, 0, "resume", "default")
	for range held {
		if got, want := <-answered, fmt.Sprintf("200 next %d <nil>", size); got != want {
			t.Fatalf("an upload ends with %q, want %q", got, want)
		}
	}
}

var residentLine = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

// residentMiB returns how much memory a process has, in mebibytes.
func residentMiB(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	m := residentLine.FindSubmatch(status)
	if m == nil {
		t.Fatalf("no VmRSS in\n%s", status)
	}
	kB, err := strconv.Atoi(string(m[1]))
	must(t, err)
	return kB >> 10
}
