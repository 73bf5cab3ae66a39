package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
	"github.com/parachute-proxy/parachute/internal/handoff"
)

// soakRequests returns how many requests a test makes at least: without PARACHUTE_SOAK, or with it.
func soakRequests(without, with int) int {
	if os.Getenv("PARACHUTE_SOAK") != "" {
		return with
	}
	return without
}

// deploys are made one after the other, through proxies in turn, until they are stopped.
type deploys struct {
	stop context.CancelFunc
	done chan struct{}
	// busy are the proxies by which none may be made at present.
	busy [3]sync.Mutex

	// These are for when it is done.
	made, refused int
	wrong         []string
}

// startDeploys has two instances be deployed in turn.
func startDeploys(t *testing.T, proxies []*rig.Proxy, instances [2]*rig.Example) *deploys {
	ctx, stop := context.WithCancel(context.Background())
	d := &deploys{stop: stop, done: make(chan struct{})}
	t.Cleanup(func() { stop(); <-d.done })
	go func() {
		defer close(d.done)
		for i := 0; ctx.Err() == nil; i++ {
			by := i % len(proxies)
			if !d.busy[by].TryLock() {
				continue
			}
			r, err := proxies[by].Run("deploy", instances[i/len(proxies)%2].Addr, "--service", "web")
			d.busy[by].Unlock()
			switch said := r.Stderr + r.Stdout; {
			case err != nil:
				d.wrong = append(d.wrong, err.Error())
			case r.Code == 0:
				d.made++
			case strings.Contains(said, "nothing has changed") || strings.Contains(said, "has changed nothing"):
				d.refused++
				t.Logf("a deploy by proxy-%d is refused: %s", by+1, lastLines(said))
			default:
				d.wrong = append(d.wrong, fmt.Sprintf("proxy-%d: %d %s", by+1, r.Code, said))
			}
		}
	}()
	return d
}

// lastLines returns the last lines of what a command has said.
func lastLines(said string) string {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	return strings.Join(lines[max(0, len(lines)-2):], " | ")
}

// end stops the deploys. The test fails if one has ended otherwise than by success or by saying that nothing has changed.
func (d *deploys) end(t *testing.T) {
	t.Helper()
	d.stop()
	<-d.done
	t.Logf("%d deploys, and %d that were refused and have changed nothing", d.made, d.refused)
	if len(d.wrong) > 0 || d.made == 0 {
		t.Errorf("%d deploys have ended otherwise: %s", len(d.wrong), strings.Join(d.wrong, "\n"))
	}
}

// startRawLoad has clients make requests that nobody repeats, by connections that are kept and by new ones.
func startRawLoad(t *testing.T, addr string, clients int) *rig.RawLoad {
	pause := 20 * time.Millisecond
	if os.Getenv("PARACHUTE_SOAK") != "" {
		pause = 5 * time.Millisecond
	}
	l := rig.StartRawLoad(rig.RawTarget{Plain: addr, PlainHost: "app.test", Path: "/", Pause: pause}, clients)
	t.Cleanup(func() { l.Stop() })
	return l
}

// answered counts the requests of several loads that were answered.
func answered(loads []*rig.RawLoad) (n int) {
	for _, l := range loads {
		for _, o := range l.Outcomes() {
			n += o.Answered
		}
	}
	return n
}

// wantNothingLost stops the loads. The test fails if a request was lost or refused, or if there were fewer than so many.
func wantNothingLost(t *testing.T, loads []*rig.RawLoad, least int) {
	t.Helper()
	all, lost := 0, 0
	for i, l := range loads {
		outcomes := l.Stop()
		text, n, gone := rig.DescribeRaw(outcomes)
		for _, o := range outcomes {
			gone += o.Refused
		}
		all, lost = all+n, lost+gone
		t.Logf("load %d:\n%s", i+1, text)
	}
	t.Logf("%d of %d requests lost", lost, all+lost)
	if lost > 0 || all < least {
		t.Errorf("%d requests were answered, %d were lost", all, lost)
	}
}

// startFleet starts three proxies, of which the first ones run servers, and deploys an instance.
func startFleet(t *testing.T, servers int, flags ...string) (proxies []*rig.Proxy, instances [2]*rig.Example) {
	t.Helper()
	proxies = newFleetOn(t, servers)
	for _, p := range proxies {
		p.Args = append(p.Args, flags...)
		must(t, p.Start())
	}
	awaitLive(t, proxies[0], 3)
	instances = [2]*rig.Example{startExample(t, "first"), startExample(t, "next")}
	if r := run(t, proxies[0], "deploy", instances[1].Addr, "--service", "web"); r.Code != 0 {
		t.Fatal(r.Stderr)
	}
	return proxies, instances
}

// agree fails the test unless the fleet still decides, and all proxies go by it.
func agree(t *testing.T, proxies []*rig.Proxy, addr string) {
	t.Helper()
	if r := run(t, proxies[0], "deploy", addr, "--service", "web"); r.Code != 0 {
		t.Errorf("the deploy after all: %d %s", r.Code, r.Stderr)
	}
	for i, p := range proxies {
		if !serves(p, addr) {
			t.Errorf("proxy-%d does not serve what was deployed last", i+1)
		}
	}
}

// While the proxies of a fleet, which run its servers, are upgraded one after the other, no request is lost, and deploys
// through each of them are done, or say that nothing has changed. With PARACHUTE_SOAK there are 100,000 requests.
func TestRollingUpgradeLosesNothing(t *testing.T) {
	least := soakRequests(2000, 100_000)
	proxies, instances := startFleet(t, 3)
	var loads []*rig.RawLoad
	for _, p := range proxies {
		loads = append(loads, startRawLoad(t, p.Addr(), 1))
	}
	d := startDeploys(t, proxies, instances)
	upgrades := 0
	for upgrades < 3 || answered(loads) < least && !t.Failed() {
		i := upgrades % 3
		before := loads[i].Answered()
		u, err := proxies[i].Upgrade()
		if err != nil {
			t.Errorf("proxy-%d: %v", i+1, err)
			break
		}
		upgrades++
		t.Logf("proxy-%d is upgraded after %s", i+1, time.Duration(u.Elapsed))
		waitFor(t, "requests of each kind by the next process", func() bool { return loads[i].Answered() > before+2 })
		waitFor(t, "the process before to end", func() bool { all, err := proxies[i].Processes(); return err == nil && len(all) == 1 })
		awaitLive(t, proxies[i], 3)
	}
	d.end(t)
	wantNothingLost(t, loads, least)
	t.Logf("%d upgrades", upgrades)
	agree(t, proxies, startExample(t, "last").Addr)
}

// balancer passes connections on to proxies that say by their ping path that clients should come.
type balancer struct {
	net.Listener
	ready [3]atomic.Bool
	next  atomic.Int64
}

// startBalancer returns once all proxies are ready.
func startBalancer(t *testing.T, proxies []*rig.Proxy) *balancer {
	b := new(balancer)
	for i, p := range proxies {
		go func() {
			c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
			for tick := time.NewTicker(20 * time.Millisecond); t.Context().Err() == nil; <-tick.C {
				resp, err := c.Get(p.URL() + "/ping")
				b.ready[i].Store(err == nil && resp.StatusCode == http.StatusOK)
				if err == nil {
					resp.Body.Close()
				}
			}
		}()
	}
	b.Listener = rigtest.Listen(t, func(client net.Conn) { b.pass(client, proxies) })
	waitFor(t, "all proxies to be ready", func() bool { return b.ready[0].Load() && b.ready[1].Load() && b.ready[2].Load() })
	return b
}

// pass has a proxy serve a connection.
func (b *balancer) pass(client net.Conn, proxies []*rig.Proxy) {
	defer client.Close()
	for range proxies {
		i := int(b.next.Add(1) % int64(len(proxies)))
		if !b.ready[i].Load() {
			continue
		}
		server, err := net.Dial("tcp", proxies[i].Addr())
		if err != nil {
			return
		}
		defer server.Close()
		go func() {
			_, _ = io.Copy(server, client)
			_ = server.(*net.TCPConn).CloseWrite()
		}()
		_, _ = io.Copy(client, server)
		return
	}
}

// While the proxies of a fleet are restarted one after the other, behind a load balancer that asks whether they are ready, no
// request is lost, and deploys through the others are done, or say that nothing has changed.
func TestRollingRestartLosesNothing(t *testing.T) {
	least := soakRequests(1000, 20_000)
	proxies, instances := startFleet(t, 3, "--shutdown-delay", "1s")
	b := startBalancer(t, proxies)
	loads := []*rig.RawLoad{startRawLoad(t, b.Addr().String(), 2)}
	d := startDeploys(t, proxies, instances)
	restarts := 0
	for restarts < 3 || answered(loads) < least && !t.Failed() {
		i := restarts % 3
		d.busy[i].Lock() // once the deploy by this one has ended
		must(t, proxies[i].Signal(syscall.SIGTERM))
		waitFor(t, "the load balancer to see that it stops", func() bool { return !b.ready[i].Load() })
		_, err := proxies[i].Stop(rigtest.Patience)
		must(t, err)
		must(t, proxies[i].Start())
		waitFor(t, "the proxy to be ready", b.ready[i].Load)
		awaitLive(t, proxies[i], 3)
		d.busy[i].Unlock()
		restarts++
	}
	d.end(t)
	wantNothingLost(t, loads, least)
	t.Logf("%d restarts", restarts)
	agree(t, proxies, startExample(t, "last").Addr)
}

// A process that fails when the one before has ceased to take part leaves the fleet as it was: that one takes part again, and runs
// the server of this proxy again.
func TestProcessThatFailsAsItTakesOverLeavesTheFleetAsItWas(t *testing.T) {
	proxies, _ := startFleet(t, 3)
	p := proxies[0]
	isServed := func() bool {
		conn, err := net.Dial("tcp", flagOf(p, "--fleet-server"))
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
	next, err := handoff.Take(filepath.Join(p.Dir, "handover.sock"), "test")
	must(t, err)
	must(t, next.Booted())
	if len(next.Standing) == 0 || isServed() {
		t.Errorf("the standing is %q, and the server runs: %t", next.Standing, isServed())
	}
	next.Fail(errors.New("no disk"))
	waitFor(t, "the server to run again", isServed)
	waitFor(t, "all proxies to take part", func() bool { return status(p).Problem == "" && status(proxies[1]).Live() == 3 })
	agree(t, proxies, startExample(t, "last").Addr)
}

// A process that has taken over, and dies, leaves the fleet as it was, too.
func TestFailedUpgradeLeavesTheFleetAsItWas(t *testing.T) {
	proxies, _ := startFleet(t, 3)
	p := proxies[0]
	stream, err := http.Get(p.URL() + "/sse?every=50ms") // has the process before stay
	must(t, err)
	defer stream.Body.Close()
	first := p.PID()
	u, err := p.Upgrade()
	must(t, err)
	process, err := os.FindProcess(u.To.PID)
	must(t, err)
	must(t, process.Kill())
	must(t, p.Leads(first))
	waitFor(t, "the process before to lead", func() bool { all, err := p.Processes(); return err == nil && len(all) == 1 && all[0].PID == first })
	waitFor(t, "all proxies to take part", func() bool { return status(p).Problem == "" && status(proxies[1]).Live() == 3 })
	conn, err := net.Dial("tcp", flagOf(p, "--fleet-server"))
	must(t, err)
	conn.Close()
	stream.Body.Close()
	agree(t, proxies, startExample(t, "last").Addr)
}

// A fleet that has one server goes on while the proxy with that is upgraded: all wait for it.
func TestProxyWithTheOnlyServerIsUpgraded(t *testing.T) {
	proxies, instances := startFleet(t, 1)
	load := startRawLoad(t, proxies[0].Addr(), 1)
	d := startDeploys(t, proxies, instances)
	for _, i := range []int{0, 1, 0} {
		_, err := proxies[i].Upgrade()
		must(t, err)
		awaitLive(t, proxies[2], 3)
	}
	d.end(t)
	wantNothingLost(t, []*rig.RawLoad{load}, 100)
	agree(t, proxies, startExample(t, "last").Addr)
}

// A proxy has drained when the process that it has taken over from has: until then, a deploy by another one waits, also if that
// one is upgraded meanwhile.
func TestDeployInAFleetWaitsForTheProcessBefore(t *testing.T) {
	proxies, instances := startFleet(t, 3)
	p := proxies[0]
	begun, goOn := make(chan struct{}), make(chan struct{})
	first := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/held" {
			close(begun)
			<-goOn
		}
	}))
	t.Cleanup(first.Close)
	if r := run(t, proxies[1], "deploy", first.Listener.Addr().String(), "--service", "web"); r.Code != 0 {
		t.Fatal(r.Stderr)
	}
	held := make(chan string, 1)
	go func() {
		resp, err := http.Get(p.URL() + "/held")
		if err != nil {
			held <- err.Error()
			return
		}
		resp.Body.Close()
		held <- resp.Status
	}()
	rigtest.Arrive(t, "the request", begun)
	_, err := p.Upgrade()
	must(t, err)
	ended := make(chan rig.Result, 1)
	go func() {
		r, err := proxies[1].Run("deploy", instances[0].Addr, "--service", "web")
		if err != nil {
			r.Stderr = err.Error()
		}
		ended <- r
	}()
	waitFor(t, "the release to serve everywhere", func() bool {
		return serves(proxies[0], instances[0].Addr) && serves(proxies[1], instances[0].Addr) && serves(proxies[2], instances[0].Addr)
	})
	select {
	case r := <-ended:
		t.Errorf("the deploy has ended with %d while the process before holds a request: %s", r.Code, r.Stderr)
		return
	case <-time.After(time.Second):
	}
	_, err = proxies[1].Upgrade()
	must(t, err)
	_, err = p.Upgrade()
	must(t, err)
	awaitLive(t, proxies[1], 3)
	select {
	case r := <-ended:
		t.Errorf("the deploy has ended with %d after two upgrades: %s", r.Code, r.Stderr)
		return
	case <-time.After(time.Second):
	}
	close(goOn)
	if r := rigtest.Arrive(t, "the end of the deploy", ended); r.Code != 0 || !strings.Contains(r.Stderr, "proxy-1 drained") {
		t.Errorf("%d %s", r.Code, r.Stderr)
	}
	if status := rigtest.Arrive(t, "the answer", held); status != "200 OK" {
		t.Error(status)
	}
}
