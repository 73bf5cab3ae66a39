// Package integration has black-box tests of programs with the fleet on NATS.
package integration

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/caddypki"
	_ "github.com/caddyserver/caddy/v2/modules/caddytls"
	_ "github.com/caddyserver/caddy/v2/modules/caddytls/standardstek"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"
	_ "github.com/caddyserver/caddy/v2/modules/logging"
	_ "github.com/caddyserver/caddy/v2/modules/metrics"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
	"github.com/parachute-proxy/parachute/internal/api"
	_ "github.com/parachute-proxy/parachute/nats"
)

// asProgram has the program of the tests be the one that they test. It need not be built then, and it has
// only those of Caddy's modules that run needs: the others take minutes to compile.
const asProgram = "TEST_RUNS_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		caddycmd.Main()
		return
	}
	os.Setenv(asProgram, "1")
	rigtest.Main(m)
}

var (
	must    = rigtest.Must
	waitFor = rigtest.WaitFor
	run     = rigtest.Run
	wantRun = rigtest.WantRun
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

// newFleet returns three proxies that run the servers of their fleet themselves, and have no other storage.
func newFleet(t *testing.T) (proxies []*rig.Proxy) { return newFleetOn(t, 3) }

// newFleetOn is newFleet with so many servers, which the first proxies run.
func newFleetOn(t *testing.T, servers int) (proxies []*rig.Proxy) {
	program, err := os.Executable()
	must(t, err)
	secret := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(secret, []byte(strings.Repeat("0123456789abcdef", 4)+"\n"), 0o600))
	addrs := freeServers(t)
	for i, addr := range addrs {
		p := rigtest.NewProxy(t)
		p.Program = program
		p.Args = []string{
			"--storage=", "--fleet", "nats://" + strings.Join(addrs[:servers], ","), "--fleet-secret-file", secret,
			"--fleet-name", fmt.Sprintf("proxy-%d", i+1), "--fleet-dir", filepath.Join(p.Dir, "fleet"), "--ping-path", "/ping",
		}
		if i < servers {
			p.Args = append(p.Args, "--fleet-server", addr)
		}
		proxies = append(proxies, p)
	}
	return proxies
}

// flagOf returns the value of a flag that p is run with.
func flagOf(p *rig.Proxy, name string) string { return p.Args[slices.Index(p.Args, name)+1] }

func startExample(t *testing.T, name string) *rig.Example {
	t.Helper()
	e, err := rig.StartExample(name, "1")
	must(t, err)
	t.Cleanup(e.Stop)
	return e
}

// status returns the fleet as a proxy sees it; nothing if that cannot be asked.
func status(p *rig.Proxy) (s api.FleetStatus) {
	if c, err := p.API(); err == nil {
		_ = c.Call(context.Background(), http.MethodGet, api.PathFleet, nil, &s)
	}
	return s
}

func awaitLive(t *testing.T, p *rig.Proxy, n int) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%d proxies are live", n), func() bool { return status(p).Live() == n })
}

// load makes requests, one after the other, until it is stopped.
type load struct {
	stop   context.CancelFunc
	done   chan struct{}
	served int
	failed []string
}

// startLoad has requests come to a proxy, on a connection that is kept or each on one of its own.
func startLoad(p *rig.Proxy, keeps bool) *load {
	ctx, stop := context.WithCancel(context.Background())
	l := &load{stop: stop, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		c := &http.Client{Timeout: rigtest.Patience, Transport: &http.Transport{DisableKeepAlives: !keeps}}
		for tick := time.NewTicker(5 * time.Millisecond); ctx.Err() == nil; <-tick.C {
			resp, err := c.Get(p.URL())
			if err != nil {
				l.failed = append(l.failed, err.Error())
				continue
			}
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if l.served++; err != nil || resp.StatusCode != http.StatusOK {
				l.failed = append(l.failed, fmt.Sprint(resp.Status, err))
			}
		}
	}()
	return l
}

// end stops the load. The test fails if a request has.
func (l *load) end(t *testing.T, proxy string) {
	t.Helper()
	l.stop()
	<-l.done
	if l.served == 0 || len(l.failed) > 0 {
		t.Errorf("%s: of %d requests, %d have failed: %q", proxy, l.served, len(l.failed), l.failed[:min(len(l.failed), 3)])
	}
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
	onFirst, onSecond := startLoad(proxies[0], false), startLoad(proxies[1], false)
	r := run(t, proxies[1], "deploy", next.Addr, "--service", "web")
	for _, want := range []string{"proxy-1 prepared", "proxy-3 prepared", "proxy-1 drained", "proxy-2 drained", "proxy-3 drained"} {
		if r.Code != 0 || !strings.Contains(r.Stderr, want) {
			t.Fatalf("%d, want %q in\n%s", r.Code, want, r.Stderr)
		}
	}
	first.Stop() // which nobody needs any more

	proxies[2].Kill()
	waitFor(t, "proxy-3 is missed", func() bool { return status(proxies[0]).Live() == 2 })
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

	onSecond.end(t, "proxy-2")
	proxies[1].Kill()
	if r := run(t, proxies[0], "deploy", next.Addr, "--service", "web"); r.Code != 6 || !strings.Contains(r.Stderr, "the fleet's store cannot be reached") || !strings.Contains(r.Stderr, "nothing has changed") {
		t.Fatalf("%d %s", r.Code, r.Stderr)
	}
	onFirst.end(t, "proxy-1")

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
