package integration

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
)

// Three proxies deploy together, also while requests come, and go on without one that was killed once
// somebody says so.
func TestFleetDeploysTogetherAndGoesOnWithoutADeadProxy(t *testing.T) {
	shared := t.TempDir()
	var proxies []*rig.Proxy
	for _, name := range []string{"proxy-1", "proxy-2", "proxy-3"} {
		proxies = append(proxies, startProxy(t, "--storage", shared, "--fleet", "storage", "--fleet-name", name, "--fleet-dir", filepath.Join(t.TempDir(), name)))
	}
	for _, p := range proxies {
		waitFor(t, "all proxies", func() bool { return strings.Count(run(t, p, "fleet").Stdout, " live ") == 3 })
	}
	first, next := startExample(t, "first"), startExample(t, "next")
	if r := run(t, proxies[0], "deploy", first.Addr, "--service", "web"); r.Code != 0 {
		t.Fatal(r.Stderr)
	}
	var loads []*rig.Load
	for _, p := range proxies {
		loads = append(loads, rig.StartLoad(p.Addr(), 2, 2*time.Millisecond))
	}
	r := run(t, proxies[1], "deploy", next.Addr, "--service", "web")
	for _, want := range []string{"proxy-1 prepared", "proxy-3 prepared", "proxy-1 drained", "proxy-2 drained", "proxy-3 drained"} {
		if r.Code != 0 || !strings.Contains(r.Stderr, want) {
			t.Fatalf("%d, want %q in\n%s", r.Code, want, r.Stderr)
		}
	}
	first.Stop() // which nobody needs any more
	for i, load := range loads {
		before, _ := load.Requests()
		waitFor(t, "more requests", func() bool { n, _ := load.Requests(); return n > before+50 })
		load.Stop()
		if n, failed := load.Requests(); failed > 0 {
			t.Errorf("proxy-%d: %d of %d requests failed: %v", i+1, failed, n, load.Errors())
		}
	}

	proxies[2].Kill()
	waitFor(t, "the proxy is missed", func() bool { return strings.Contains(run(t, proxies[0], "fleet").Stdout, "missing") })
	if text := ourMetrics(t, proxies[0]).text; !strings.Contains(text, `parachute_fleet_proxies{state="missing"} 1`) || !strings.Contains(text, `parachute_fleet_proxies{state="live"} 2`) {
		t.Errorf("the metrics do not tell of it:\n%s", text)
	}
	again := startExample(t, "again")
	r = run(t, proxies[0], "deploy", again.Addr, "--service", "web")
	if r.Code != 6 || !strings.Contains(r.Stderr, "proxy-3 has not been heard of") || !strings.Contains(r.Stderr, "parachute fleet forget proxy-3") {
		t.Fatalf("%d %s", r.Code, r.Stderr)
	}
	if r := run(t, proxies[0], "fleet", "forget", "proxy-3"); r.Code != 0 {
		t.Fatal(r.Stderr)
	}
	if r := run(t, proxies[1], "deploy", again.Addr, "--service", "web"); r.Code != 0 {
		t.Fatal(r.Stderr)
	}
	must(t, proxies[2].Start())
	waitFor(t, "the proxy has caught up", func() bool {
		s := services(t, proxies[2])
		return len(s) == 1 && s[0].Active != nil && s[0].Active.Targets[0].Address == again.Addr
	})
	waitFor(t, "it is part of the fleet", func() bool { return strings.Count(run(t, proxies[1], "fleet").Stdout, " live ") == 3 })
}

// Proxies that share a storage are upgraded one after the other. No request is lost, and deploys by the new process and by the
// others are done at once.
func TestFleetOnAStorageIsUpgraded(t *testing.T) {
	shared := t.TempDir()
	var proxies []*rig.Proxy
	for _, name := range []string{"proxy-1", "proxy-2"} {
		proxies = append(proxies, startProxy(t, "--storage", shared, "--fleet", "storage", "--fleet-name", name, "--fleet-dir", filepath.Join(t.TempDir(), name)))
	}
	for _, p := range proxies {
		waitFor(t, "all proxies", func() bool { return strings.Count(run(t, p, "fleet").Stdout, " live ") == 2 })
	}
	if r := run(t, proxies[0], "deploy", startExample(t, "first").Addr, "--service", "web"); r.Code != 0 {
		t.Fatal(r.Stderr)
	}
	var loads []*rig.Load
	for _, p := range proxies {
		loads = append(loads, rig.StartLoad(p.Addr(), 1, 5*time.Millisecond))
	}
	for i, p := range proxies {
		upgrade(t, p)
		for _, by := range []*rig.Proxy{p, proxies[1-i]} {
			if r := run(t, by, "deploy", startExample(t, "next").Addr, "--service", "web", "--stream-timeout", "1s"); r.Code != 0 {
				t.Errorf("after the upgrade of proxy-%d: %s", i+1, r.Stderr)
			}
		}
	}
	for i, load := range loads {
		load.Stop()
		if n, failed := load.Requests(); failed > 0 {
			t.Errorf("proxy-%d: %d of %d requests failed: %v", i+1, failed, n, load.Errors())
		}
	}
}

// A proxy that was alone becomes part of a fleet with the directory that it has had: it serves its services from its start, and
// the others do as soon as they are there.
func TestProxyThatWasAloneBringsItsServicesIntoAFleet(t *testing.T) {
	one, shared := startProxy(t), t.TempDir()
	had := filepath.Join(one.Dir, "storage")
	app, next := startExample(t, "app"), startExample(t, "next")
	if r := run(t, one, "deploy", app.Addr, "--service", "web"); r.Code != 0 {
		t.Fatal(r.Stderr)
	}
	stop := func(p *rig.Proxy) {
		_, err := p.Stop(patience)
		must(t, err)
	}
	stop(one)
	flags := func(name, dir string) []string {
		return []string{"--storage", shared, "--fleet", "storage", "--fleet-name", name, "--fleet-dir", dir}
	}

	// With a directory of its own, it is a new proxy, which says where its services are.
	missed := newProxy(t, "--fleet", "storage", "--fleet-name", "missed", "--fleet-dir", t.TempDir(), "--storage", had)
	must(t, missed.Start())
	if want := "start it with this directory as --fleet-dir\",\"storage\":\"" + had; !strings.Contains(missed.Log(), want) {
		t.Errorf("the log has nothing of %q:\n%s", want, missed.Log())
	}
	stop(missed)

	one.Args = append(one.Args, flags("proxy-1", had)...)
	must(t, one.Start())
	load := rig.StartLoad(one.Addr(), 2, 2*time.Millisecond)
	other := startProxy(t, flags("proxy-2", t.TempDir())...)
	waitFor(t, "the other proxy to serve it", func() bool {
		s := services(t, other)
		return len(s) == 1 && s[0].Active != nil && s[0].Active.Targets[0].Address == app.Addr && s[0].Active.Release == 1
	})
	waitFor(t, "both to be there", func() bool { return strings.Count(run(t, other, "fleet").Stdout, " live ") == 2 })
	if r := run(t, other, "deploy", next.Addr, "--service", "web"); r.Code != 0 || !strings.Contains(r.Stderr, "proxy-1 drained") {
		t.Fatal(r.Stderr)
	}
	load.Stop()
	if n, failed := load.Requests(); n < 50 || failed > 0 {
		t.Errorf("%d of %d requests failed: %v", failed, n, load.Errors())
	}

	// Alone again, it goes on with what it serves.
	stop(one)
	one.Args = nil
	must(t, one.Start())
	if s := services(t, one); len(s) != 1 || s[0].Active.Targets[0].Address != next.Addr {
		t.Errorf("it serves %+v", s)
	}
}
