package integration

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
)

// network is two networks, each with a bridge of its own: by one the proxies meet, by the other they have clients and
// instances. Each proxy is in a network namespace, as on a machine of its own.
type network struct {
	id int
}

// newNetwork skips the test if it may not make networks here.
func newNetwork(t *testing.T) *network {
	if _, err := exec.LookPath("ip"); err != nil || os.Getuid() != 0 {
		t.Skip("network namespaces need root and the program ip")
	}
	n := &network{os.Getpid() % 250}
	if said, err := exec.Command("ip", "netns", "add", n.namespace(0)).CombinedOutput(); err != nil { // that of the bridge
		t.Skipf("network namespaces cannot be made here: %s", said)
	}
	t.Cleanup(func() {
		for i := range 4 {
			_ = exec.Command("ip", "netns", "del", n.namespace(i)).Run() // and with it its ends of cables
		}
		_ = exec.Command("ip", "link", "del", n.bridge("public")).Run()
	})
	n.ip(t, n.on("fleet", "link", "add", n.bridge("fleet"), "type", "bridge")...)
	n.ip(t, n.on("public", "link", "add", n.bridge("public"), "type", "bridge")...)
	n.ip(t, "addr", "add", n.address("public", 254)+"/24", "dev", n.bridge("public"))
	for _, b := range []string{"fleet", "public"} {
		n.ip(t, n.on(b, "link", "set", n.bridge(b), "up")...)
	}
	for i := 1; i <= 3; i++ {
		n.ip(t, "netns", "add", n.namespace(i))
		n.ip(t, "-n", n.namespace(i), "link", "set", "lo", "up")
		for _, b := range []string{"fleet", "public"} {
			n.ip(t, n.on(b, "link", "add", n.plug(b, i), "type", "veth", "peer", "name", b, "netns", n.namespace(i))...)
			n.ip(t, n.on(b, "link", "set", n.plug(b, i), "master", n.bridge(b), "up")...)
			n.ip(t, "-n", n.namespace(i), "addr", "add", n.address(b, i)+"/24", "dev", b)
			n.ip(t, "-n", n.namespace(i), "link", "set", b, "up")
		}
	}
	return n
}

func (n *network) ip(t *testing.T, args ...string) {
	t.Helper()
	if said, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %s", strings.Join(args, " "), said)
	}
}

// on returns the arguments of ip for where the bridge of a network is. That of the fleet is in a namespace of its own: the rules of this
// machine's firewall may be for what goes through a bridge as well.
func (n *network) on(of string, args ...string) []string {
	if of == "fleet" {
		return append([]string{"-n", n.namespace(0)}, args...)
	}
	return args
}

func (n *network) namespace(i int) string       { return fmt.Sprintf("parachute-%d-%d", n.id, i) }
func (n *network) bridge(of string) string      { return fmt.Sprintf("pc%d%s", n.id, of) }
func (n *network) plug(of string, i int) string { return fmt.Sprintf("pc%d%.1s%d", n.id, of, i) }
func (n *network) address(of string, i int) string {
	net := 213
	if of == "public" {
		net = 214
	}
	return fmt.Sprintf("10.%d.%d.%d", net, n.id, i)
}

// pull pulls the plug by which a proxy meets the others, and plugIn puts it back.
func (n *network) pull(t *testing.T, i int) {
	n.ip(t, n.on("fleet", "link", "set", n.plug("fleet", i), "down")...)
}

func (n *network) plugIn(t *testing.T, i int) {
	n.ip(t, n.on("fleet", "link", "set", n.plug("fleet", i), "up")...)
}

// startProxies starts three proxies, each in its namespace.
func (n *network) startProxies(t *testing.T) (proxies []*rig.Proxy) {
	program, err := os.Executable()
	must(t, err)
	secret := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(secret, []byte(strings.Repeat("0123456789abcdef", 4)+"\n"), 0o600))
	servers := fmt.Sprintf("nats://%s,%s,%s", n.address("fleet", 1), n.address("fleet", 2), n.address("fleet", 3))
	for i := 1; i <= 3; i++ {
		p := rigtest.NewProxy(t)
		p.Program, p.Wrap = program, []string{"ip", "netns", "exec", n.namespace(i)}
		p.HTTPPort, p.HTTPSPort = 0, 0 // by which the rig would ask on this machine
		p.Args = []string{
			"--bind", n.address("public", i), "--http-port", "8080", "--storage=", "--fleet", servers, "--fleet-server", n.address("fleet", i),
			"--fleet-secret-file", secret, "--fleet-name", fmt.Sprintf("proxy-%d", i), "--fleet-dir", filepath.Join(p.Dir, "fleet"),
			"--fleet-missing-after", "20s", "--ping-path", "/ping",
		}
		must(t, p.Start())
		proxies = append(proxies, p)
	}
	awaitLive(t, proxies[0], 3)
	return proxies
}

// instance starts an instance of an application, which answers with its name, and returns its address.
func (n *network) instance(t *testing.T, name string) string {
	l, err := net.Listen("tcp", n.address("public", 254)+":0")
	must(t, err)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) })}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

// answers returns which instance answers a request to a proxy.
func (n *network) answers(i int) string {
	c := &http.Client{Timeout: rigtest.Patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get(fmt.Sprintf("http://%s:8080/", n.address("public", i)))
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Sprint(resp.Status, err)
	}
	return string(body)
}

// A proxy whose plug is pulled, on a network as of real machines, serves on. Deploys by it change nothing, and neither do those
// by the others, until it has been missing for long: then they name it, or do not wait for it if somebody has said that it is gone.
// Plugged in again, it catches up, and its first request then goes to the newest release.
func TestProxyWhosePlugIsPulledServesOnAndCatchesUp(t *testing.T) {
	n := newNetwork(t)
	proxies := n.startProxies(t)
	first, second, third := n.instance(t, "first"), n.instance(t, "second"), n.instance(t, "third")
	deploy := func(addr string) rig.Result { return run(t, proxies[0], "deploy", addr, "--service", "web") }
	if r := deploy(first); r.Code != 0 {
		t.Fatal(r.Stderr)
	}
	clients := n.startClients(t, 3)

	pulled := time.Now()
	n.pull(t, 3)
	alone := make(chan rig.Result, 1)
	go func() {
		r, err := proxies[2].Run("deploy", second, "--service", "web")
		if err != nil {
			r.Stderr = err.Error()
		}
		alone <- r
	}()
	waitFor(t, "proxy-3 to be missed", func() bool { return status(proxies[0]).Live() == 2 })
	if r := deploy(second); r.Code != 6 || !strings.Contains(r.Stderr, "proxy-3 has not been heard of") || !strings.Contains(r.Stderr, "nothing has changed") {
		t.Errorf("%d %s", r.Code, r.Stderr)
	}
	var r rig.Result
	waitFor(t, "the fleet to go on by itself", func() bool { r = deploy(second); return r.Code == 0 })
	if !strings.Contains(r.Stderr, "proxy-3 missing") {
		t.Errorf("it is not said that proxy-3 is missing: %s", r.Stderr)
	}
	t.Logf("the fleet goes on %s after the plug was pulled", time.Since(pulled).Round(time.Millisecond))
	// For how long the others could not look, as without a leader, is not held against it: it may count as heard of once more.
	waitFor(t, "proxy-3 to be forgotten", func() bool { return run(t, proxies[1], "fleet", "forget", "proxy-3").Code == 0 })
	if r := deploy(third); r.Code != 0 || strings.Contains(r.Stderr, "proxy-3") {
		t.Errorf("%d %s", r.Code, r.Stderr)
	}
	if r := rigtest.Arrive(t, "the deploy by proxy-3", alone); r.Code != 6 || !strings.Contains(r.Stderr, "nothing has changed") {
		t.Errorf("by proxy-3: %d %s", r.Code, r.Stderr)
	}
	for i, want := range []string{"third", "third", "first"} {
		if got := n.answers(i + 1); got != want {
			t.Errorf("proxy-%d answers %q, want %q", i+1, got, want)
		}
	}

	// It asks for ten seconds before it says that it is cut off, and the others may have gone on sooner.
	waitFor(t, "proxy-3 to know that it is cut off", func() bool { return status(proxies[2]).Problem != "" })
	plugged := time.Now()
	n.plugIn(t, 3)
	waitFor(t, "proxy-3 to take part", func() bool { s := status(proxies[2]); return s.Problem == "" && s.Live() == 3 })
	if got := n.answers(3); got != "third" {
		t.Errorf("the first request to proxy-3 after it has caught up is answered %q", got)
	}
	t.Logf("proxy-3 takes part %s after it was plugged in", time.Since(plugged).Round(time.Millisecond))
	awaitLive(t, proxies[0], 3)
	if got := strings.Join(clients(), ", "); got != "first, third" {
		t.Errorf("clients of proxy-3 are answered %s, one after the other", got)
	}
	if r := run(t, proxies[2], "deploy", first, "--service", "web"); r.Code != 0 || n.answers(1) != "first" {
		t.Errorf("the deploy by proxy-3 after all: %d %s", r.Code, r.Stderr)
	}
}

// startClients has requests come to a proxy, one after the other. What it returns ends them, and returns what they were answered,
// without what is the same as before.
func (n *network) startClients(t *testing.T, i int) func() []string {
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	var seen []string
	go func() {
		defer close(done)
		for tick := time.NewTicker(10 * time.Millisecond); ctx.Err() == nil; <-tick.C {
			if got := n.answers(i); len(seen) == 0 || seen[len(seen)-1] != got {
				seen = append(seen, got)
			}
		}
	}()
	return func() []string {
		stop()
		<-done
		return seen
	}
}
