package integration

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/internal/api"
)

// TestReloadsAndUpgradesUnderEveryKindOfLoad lose nothing: clients of every class that repeat nothing, an
// upload, a WebSocket and an event stream that are there from the beginning. A few requests over HTTP/3 are
// rejected in the way that clients may repeat. It takes 10 reloads and 2
// upgrades, or 200 and 20 with PARACHUTE_SOAK, when the upload takes a minute.
func TestReloadsAndUpgradesUnderEveryKindOfLoad(t *testing.T) {
	upgrades, reloads := soakCount(t, 2, 20), soakCount(t, 5, 10)
	uploadTime := time.Duration(soakCount(t, 3, 60)) * time.Second
	linger := uploadTime + 5*time.Second
	file := filepath.Join(t.TempDir(), "sites.Caddyfile")
	write := func(generation int) {
		must(t, os.WriteFile(file, fmt.Appendf(nil, "http://generation.test {\n\trespond \"generation %d\"\n}\n", generation), 0o600))
	}
	write(0)
	p, target := startSecured(t, startApp(t, "a", nil), "--config", file, "--linger", linger.String())
	deploy(t, p, api.DeployRequest{Service: "streams", Hosts: []string{"streams.test"}, Targets: []string{startExample(t, "streams").Addr}})
	first := p.PID()

	ws := openWebSocket(t, p, "streams.test")
	events := openEvents(t, p, "streams.test")
	uploaded := make(chan error, 1)
	go func() { uploaded <- uploadSlowly(p, "streams.test", uploadTime) }()
	target.HTTP3 = true
	load := rig.StartRawLoad(target, 2)
	n := 0
	for range upgrades {
		for range reloads {
			n++
			write(n)
			before := load.Answered()
			must(t, p.ReloadConfig(patience))
			waitFor(t, "a request of each class", func() bool { return load.Answered() > before })
			http.DefaultClient.CloseIdleConnections() // which the process before may have
			if resp, body := get(t, p, "generation.test", "/"); body != fmt.Sprint("generation ", n) {
				t.Fatalf("the site answers %s %q after reload %d", resp.Status, body, n)
			}
		}
		before := load.Answered()
		upgrade(t, p)
		waitFor(t, "a request of each class", func() bool { return load.Answered() > before+1 })
		awaitProcesses(t, p, 3)
		if rig.IsRunning(first) { // its time is not over
			must(t, ws.Send(fmt.Sprint("still here ", n)))
			if got, err := ws.Receive(); err != nil || !strings.Contains(got, fmt.Sprint("still here ", n)) {
				t.Fatalf("the echo is %q, %v", got, err)
			}
			_, err := events.ReadString('\n')
			must(t, err)
		}
	}
	must(t, <-uploaded)
	ws.SetDeadline(time.Now().Add(linger + patience))
	_, err := ws.Receive()
	if c, ok := errors.AsType[*rig.CloseError](err); !ok || c.Code != 1001 {
		t.Errorf("the WebSocket ends with %v, want a close with 1001", err)
	}
	if _, err := io.ReadAll(events); err != nil {
		t.Errorf("the event stream ends with %v", err)
	}
	t.Logf("%d reloads, %d upgrades, an upload of %s", n, upgrades, uploadTime)
	expectRejectedAtMost(t, load)
}

// openEvents opens an event stream.
func openEvents(t *testing.T, p *rig.Proxy, host string) *bufio.Reader {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, p.URL()+"/sse?every=20ms", nil)
	must(t, err)
	req.Host = host
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	t.Cleanup(func() { resp.Body.Close() })
	return bufio.NewReader(resp.Body)
}

// uploadSlowly uploads something for so long, a kibibyte every 50 ms.
func uploadSlowly(p *rig.Proxy, host string, duration time.Duration) error {
	r, w := io.Pipe()
	sent := 0
	go func() {
		for end := time.Now().Add(duration); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			n, err := w.Write(make([]byte, 1<<10))
			if err != nil {
				return
			}
			sent += n
		}
		w.Close()
	}()
	req, err := http.NewRequest(http.MethodPost, p.URL()+"/upload", r)
	if err != nil {
		return err
	}
	req.Host = host
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("the upload: %w", err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(body), fmt.Sprint(sent)) {
		return fmt.Errorf("the application got not the %d bytes of the upload: %s %q, %w", sent, resp.Status, body, err)
	}
	return nil
}
