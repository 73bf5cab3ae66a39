package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
)

// asProgram has the program of the tests be the one that they test, which need not be built then.
const asProgram = "TEST_RUNS_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Setenv(asProgram, "1")
	rigtest.Main(m)
}

var (
	must    = rigtest.Must
	waitFor = rigtest.WaitFor
)

// freeServers returns addresses for servers of a fleet, whose other ports are free as well.
func freeServers(t *testing.T) (addrs []string) {
	for len(addrs) < 3 {
		port, err := rig.FreePort()
		must(t, err)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+2000))
		if err != nil {
			continue
		}
		l.Close()
		addrs = append(addrs, fmt.Sprintf("127.0.0.1:%d", port))
	}
	return addrs
}

// newFleet returns three proxies that run the servers of their fleet themselves.
func newFleet(t *testing.T) (proxies []*rig.Proxy) {
	program, err := os.Executable()
	must(t, err)
	secret := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(secret, []byte(strings.Repeat("0123456789abcdef", 4)+"\n"), 0o600))
	addrs := freeServers(t)
	for i, addr := range addrs {
		p := rigtest.NewProxy(t)
		p.Program = program
		p.Args = []string{
			"--fleet", "nats://" + strings.Join(addrs, ","), "--fleet-server", addr, "--fleet-secret-file", secret,
			"--fleet-name", fmt.Sprintf("proxy-%d", i+1), "--fleet-dir", filepath.Join(p.Dir, "fleet"), "--ping-path", "/ping",
		}
		proxies = append(proxies, p)
	}
	return proxies
}

func startExample(t *testing.T, name string) *rig.Example {
	t.Helper()
	e, err := rig.StartExample(name, "1")
	must(t, err)
	t.Cleanup(e.Stop)
	return e
}

func run(t *testing.T, p *rig.Proxy, args ...string) rig.Result {
	t.Helper()
	r, err := p.Run(args...)
	must(t, err)
	return r
}

func awaitLive(t *testing.T, p *rig.Proxy, n int) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%d proxies are live", n), func() bool { return strings.Count(run(t, p, "fleet").Stdout, " live ") == n })
}

func serves(p *rig.Proxy, addr string) bool {
	s, err := p.Services()
	return err == nil && len(s) == 1 && s[0].Active != nil && s[0].Active.Targets[0].Address == addr
}

// Three proxies decide together also while requests come. They go on without one that was killed once somebody says
// so, decide nothing without a majority, serve all the while, and are as they were after all have been
// stopped.
func TestProxiesRunTheServersOfTheirFleet(t *testing.T) {
	proxies := newFleet(t)
	for _, p := range proxies {
		must(t, p.Start())
	}
	awaitLive(t, proxies[0], 3)
	first, next := startExample(t, "first"), startExample(t, "next")
	if r := run(t, proxies[0], "deploy", first.Addr, "--service", "web"); r.Code != 0 {
		t.Fatal(r.Stderr)
	}
	var loads []*rig.Load
	for _, p := range proxies[:2] {
		loads = append(loads, rig.StartLoad(p.Addr(), 2, 5*time.Millisecond))
	}
	r := run(t, proxies[1], "deploy", next.Addr, "--service", "web")
	for _, want := range []string{"proxy-1 prepared", "proxy-3 prepared", "proxy-1 drained", "proxy-2 drained", "proxy-3 drained"} {
		if r.Code != 0 || !strings.Contains(r.Stderr, want) {
			t.Fatalf("%d, want %q in\n%s", r.Code, want, r.Stderr)
		}
	}
	t.Log(r.Stderr)
	first.Stop() // which nobody needs any more

	proxies[2].Kill()
	waitFor(t, "proxy-3 is missed", func() bool { return strings.Contains(run(t, proxies[0], "fleet").Stdout, "missing") })
	again := startExample(t, "again")
	if r := run(t, proxies[0], "deploy", again.Addr, "--service", "web"); r.Code != 6 || !strings.Contains(r.Stderr, "proxy-3 has not been heard of") {
		t.Fatalf("%d %s", r.Code, r.Stderr)
	}
	if r := run(t, proxies[0], "fleet", "forget", "proxy-3"); r.Code != 0 {
		t.Fatal(r.Stderr)
	}
	if r := run(t, proxies[1], "deploy", again.Addr, "--service", "web"); r.Code != 0 {
		t.Fatal(r.Stderr)
	}

	for _, load := range loads[1:] {
		load.Stop()
	}
	proxies[1].Kill()
	if r := run(t, proxies[0], "deploy", next.Addr, "--service", "web"); r.Code != 6 || !strings.Contains(r.Stderr, "the fleet's store cannot be reached") || !strings.Contains(r.Stderr, "nothing has changed") {
		t.Fatalf("%d %s", r.Code, r.Stderr)
	}
	for i, load := range loads {
		load.Stop()
		if n, failed := load.Requests(); n == 0 || failed > 0 {
			t.Errorf("proxy-%d: %d of %d requests failed: %v", i+1, failed, n, load.Errors())
		}
	}

	for _, p := range proxies[1:] {
		must(t, p.Start())
	}
	awaitLive(t, proxies[2], 3)
	waitFor(t, "proxy-3 has caught up", func() bool { return serves(proxies[2], again.Addr) })
	for _, p := range proxies {
		_, err := p.Stop(rigtest.Patience)
		must(t, err)
	}
	for _, p := range proxies {
		must(t, p.Start())
	}
	awaitLive(t, proxies[1], 3)
	last := startExample(t, "last")
	if r := run(t, proxies[2], "deploy", last.Addr, "--service", "web"); r.Code != 0 {
		t.Fatal(r.Stderr)
	}
	for i, p := range proxies {
		if !serves(p, last.Addr) {
			t.Errorf("proxy-%d does not serve the release that was deployed", i+1)
		}
	}
}
