package integration

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"slices"
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
	must(t, p.Start())

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

// A warning that every start gives teaches people not to read warnings: Caddy takes each
// Unix socket for an open interface.
func TestQuietStartHasNoWarnings(t *testing.T) {
	p := newProxy(t)
	must(t, p.Start())
	if r := run(t, p, "status", "nothing"); r.Code != 5 {
		t.Errorf("the API answers %d %s", r.Code, r.Stderr)
	}
	before := p.Log()
	_, err := p.Stop(patience)
	must(t, err)
	if strings.Contains(before, `"level":"warn"`) || strings.Contains(before, "open interface") || !strings.Contains(before, `"msg":"ready"`) {
		t.Errorf("the log of a start:\n%s", before)
	}
}

func TestOpenAdminEndpointOfACaddyfileIsWarnedOf(t *testing.T) {
	p := newProxy(t)
	port, err := rig.FreePort()
	must(t, err)
	file := filepath.Join(p.Dir, "Caddyfile")
	must(t, os.WriteFile(file, []byte("{\n\tadmin :"+itoa(port)+"\n}\n"), 0o600))
	cmd, err := p.Command("run", "--bind", "127.0.0.1", "--http-port", itoa(p.HTTPPort), "--https-port", "0",
		"--storage", filepath.Join(p.Dir, "storage"), "--config", file)
	must(t, err)
	cmd.Env = slices.DeleteFunc(cmd.Env, func(v string) bool { return strings.HasPrefix(v, "PARACHUTE_ADMIN=") })
	stderr, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	warned := make(chan bool, 1)
	go func() {
		lines := bufio.NewScanner(stderr)
		found := false
		for lines.Scan() && !strings.Contains(lines.Text(), `"msg":"ready"`) {
			found = found || strings.Contains(lines.Text(), "open interface")
		}
		warned <- found
		_, _ = io.Copy(io.Discard, stderr)
	}()
	if !arrive(t, "the proxy to be ready", warned) {
		t.Error("Caddy's warning of an endpoint that is open is missing")
	}
}
