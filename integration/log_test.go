package integration

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig"
)

// Trap 62: standard error is a pipe that nobody reads. Traffic and deploys go on,
// and the lines that were dropped are counted.
func TestBlockedLogStopsNothing(t *testing.T) {
	p := newProxy(t, "--access-log")
	port, err := rig.FreePort()
	must(t, err)
	p.Args = append(p.Args, "--metrics-port", itoa(port))
	fifo := filepath.Join(p.Dir, "stderr")
	must(t, syscall.Mkfifo(fifo, 0o600))
	pipe, err := os.OpenFile(fifo, os.O_RDWR, 0) // both ends, so that opening does not wait
	must(t, err)
	defer pipe.Close()
	p.Stderr = pipe
	start(t, p)

	a, b := startApp(t, "a", nil), startApp(t, "b", nil)
	deploy(t, p, to(a))
	dropped := func() bool {
		_, metrics := getURL(t, "http://127.0.0.1:"+itoa(port)+"/metrics")
		for line := range strings.SplitSeq(metrics, "\n") {
			if count, ok := strings.CutPrefix(line, "parachute_log_lines_dropped_total "); ok {
				return count != "0"
			}
		}
		t.Fatalf("the metrics do not count dropped lines:\n%s", metrics)
		return false
	}
	for n := 0; !dropped(); n++ {
		if n > 100 {
			t.Fatal("no line was dropped: the log is not blocked, and this test shows nothing")
		}
		for range 100 {
			if resp, _ := get(t, p, "", "/"+strings.Repeat("long", 500)); resp.StatusCode != 200 {
				t.Fatalf("request %d: %s", n, resp.Status)
			}
		}
	}
	deploy(t, p, to(b))
	if _, body := get(t, p, "", "/"); body != "b" {
		t.Errorf("%q answers after the deploy", body)
	}
}
