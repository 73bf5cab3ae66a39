package integration

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/internal/api"
)

// TestMixedLoadLeavesNothingBehind has users of every kind, deploys, reloads, upgrades, and clients that
// go away in the middle, and then wants goroutines, descriptors and memory to be back
// where they were. It takes a few seconds, or PARACHUTE_SOAK, such as 10m.
func TestMixedLoadLeavesNothingBehind(t *testing.T) {
	duration := soakTime(t, 5*time.Second)
	file := filepath.Join(t.TempDir(), "sites.Caddyfile")
	must(t, os.WriteFile(file, []byte("http://another.test {\n\trespond \"another site\"\n}\n"), 0o600))
	p := startProxy(t, "--config", file, "--linger", "5s")
	apps := []*rig.Example{startExample(t, "web-1"), startExample(t, "web-2")}
	deploys, reloads, upgrades := 0, 0, 0
	redeploy := func() {
		t.Helper()
		soon := api.Duration(500 * time.Millisecond)
		deploy(t, p, api.DeployRequest{Targets: []string{apps[deploys%2].Addr}, StreamTimeout: &soon})
		deploys++
	}
	round := func(d time.Duration) {
		load := rig.StartLoad(p.Addr(), 20, 5*time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		var aborting sync.WaitGroup
		for i := range 8 {
			aborting.Go(func() { abortRequests(ctx, p.Addr(), i) })
		}
		for i := 0; ctx.Err() == nil; i++ {
			redeploy()
			switch {
			case i%200 == 5:
				upgrade(t, p)
				upgrades++
			case i%20 == 2:
				must(t, p.ReloadConfig(patience))
				reloads++
			}
			sleepUntil(ctx, 300*time.Millisecond)
		}
		aborting.Wait()
		load.Stop()
		requests, failed := load.Requests()
		t.Logf("%d requests, %d failed; %d deploys, %d reloads and %d upgrades so far", requests, failed, deploys, reloads, upgrades)
		if failed > 0 {
			t.Errorf("failures: %s", load.Errors())
		}
	}
	// Whatever is made once is made here. The proxy keeps the last thousand events, which take 3 MB before
	// the oldest ones go.
	for range soakCount(t, 1, 700) {
		redeploy()
	}
	round(2 * time.Second)
	before := takeInventory(t, p)
	round(duration)
	awaitProcesses(t, p, 1)
	var after inventory
	deadline := time.Now().Add(patience)
	for after = takeInventory(t, p); !after.within(before) && time.Now().Before(deadline); after = takeInventory(t, p) {
		sleepUntil(t.Context(), 200*time.Millisecond)
	}
	t.Logf("before: %+v, after: %+v", before, after)
	if !after.within(before) {
		t.Errorf("there was %+v before and is %+v after", before, after)
	}
}

// soakTime returns how long a test goes on under load: PARACHUTE_SOAK, or what it takes without.
func soakTime(t *testing.T, without time.Duration) time.Duration {
	t.Helper()
	s := os.Getenv("PARACHUTE_SOAK")
	if s == "" {
		return without
	}
	duration, err := time.ParseDuration(s)
	must(t, err)
	return duration
}

// soakCount returns how often a test does something: what it does without PARACHUTE_SOAK, or with it.
func soakCount(t *testing.T, without, with int) int {
	t.Helper()
	if soakTime(t, 0) > 0 {
		return with
	}
	return without
}

// inventory is what a process holds.
type inventory struct{ goroutines, descriptors, heap int }

// within reports whether i is no more than b was, but for what comes and goes, such
// as idle connections and probes.
func (i inventory) within(b inventory) bool {
	return i.goroutines <= b.goroutines+10 && i.descriptors <= b.descriptors+10 && i.heap <= b.heap+b.heap/4
}

// takeInventory asks the proxy, after a garbage collection.
func takeInventory(t *testing.T, p *rig.Proxy) (i inventory) {
	t.Helper()
	admin := p.HTTP()
	get := func(path string) string {
		t.Helper()
		resp, err := admin.Get("http://localhost" + path)
		must(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		must(t, err)
		return string(body)
	}
	if _, err := fmt.Sscanf(get("/debug/pprof/goroutine?debug=1"), "goroutine profile: total %d", &i.goroutines); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(strings.NewReader(get("/debug/pprof/heap?debug=1&gc=1")))
	for lines.Scan() {
		if s, ok := strings.CutPrefix(lines.Text(), "# HeapAlloc = "); ok {
			i.heap, _ = strconv.Atoi(s)
		}
	}
	descriptors, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(p.PID()), "fd"))
	if err != nil {
		t.Skipf("descriptors cannot be counted here: %v", err)
	}
	i.descriptors = len(descriptors)
	return i
}

// abortRequests makes requests of several kinds and goes away in the middle of each.
func abortRequests(ctx context.Context, addr string, seed int) {
	requests := []string{
		"GET /slow?d=10s HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nonly the beginning",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"GET /events HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET / HTTP/1.1\r\nHo",
		"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
	}
	for i := seed; ctx.Err() == nil; i++ {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, requests[i%len(requests)])
		sleepUntil(ctx, time.Duration(i%5)*10*time.Millisecond)
		if i%2 == 0 {
			_ = conn.(*net.TCPConn).SetLinger(0) // a reset
		}
		conn.Close()
	}
}

// sleepUntil paces a load: it is no synchronisation.
func sleepUntil(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
