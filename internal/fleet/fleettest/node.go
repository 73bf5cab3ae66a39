package fleettest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/fleet"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

// Timing is how often a proxy of a test looks at its store, how long one counts as there that is
// not heard of, how long a store is asked that does not answer, and how long proxies that live are waited for to
// go by a decision.
type Timing struct{ Poll, Lease, Patience, Finish time.Duration }

var (
	// InProcess is for stores that are in the process of the test.
	InProcess = Timing{Poll: 10 * time.Millisecond, Lease: time.Second, Patience: 5 * time.Second}
	// ByNetwork is for those that are not, also on a busy machine.
	ByNetwork = Timing{Poll: 100 * time.Millisecond, Lease: 5 * time.Second, Patience: 5 * time.Second}
)

// Node is one proxy of a fleet in a test.
type Node struct {
	Name   string
	Engine *proxy.Engine
	Agent  *fleet.Agent
	Link   *Link

	disk         *disk
	followers    followers
	certificates *certifier
	// refuses has the proxy refuse every release with an error that is not nil.
	refuses atomic.Pointer[api.Error]
}

// Start starts a proxy, and returns when it has caught up. It is stopped when the test ends.
func Start(t *testing.T, b fleet.Store, name string, timing Timing) *Node {
	t.Helper()
	n := Boot(t, b, name, timing)
	Await(t, name+" is ready", n.Agent.Ready)
	return n
}

// Boot is Start, but does not wait.
func Boot(t *testing.T, b fleet.Store, name string, timing Timing) *Node {
	t.Helper()
	return boot(t, b, name, timing, newDisk(), fleet.Imports{})
}

// Restart stops a proxy, and starts one with what it has stored. It does not wait for it to catch up.
func (n *Node) Restart(t *testing.T, b fleet.Store, timing Timing) *Node {
	t.Helper()
	n.Agent.Stop()
	n.Engine.Close()
	return boot(t, b, n.Name, timing, n.disk.copy(), fleet.Imports{})
}

// Crash has a proxy die as a process does: from now on it reaches no store and writes nothing, and
// says no goodbye. It goes on to be there for [Node.Restart].
func (n *Node) Crash() {
	n.Link.SetCut(true)
	n.disk.setFull(true)
	go n.Agent.Stop() // which waits for the call in which it may have died
}

// boot starts a proxy with what it has stored. imports are those of it that it has had before it was part of the fleet.
func boot(t *testing.T, b fleet.Store, name string, timing Timing, stored *disk, imports fleet.Imports) *Node {
	t.Helper()
	n := assemble(t, b, name, timing, stored, imports, nil)
	n.start(t)
	return n
}

// assemble makes a proxy that has loaded what is stored, and has not started. before are the processes that it takes over from.
func assemble(t *testing.T, b fleet.Store, name string, timing Timing, stored *disk, imports fleet.Imports, before followers) *Node {
	t.Helper()
	n := &Node{Name: name, Link: &Link{Store: b}, disk: stored, followers: before, certificates: newCertifier()}
	n.Engine = proxy.NewEngine(proxy.EngineOptions{Store: stored, Certifier: n.certificates, Followers: before, Refuse: func(api.Spec) error {
		if err := n.refuses.Load(); err != nil {
			return err
		}
		return nil
	}})
	n.Agent = fleet.New(fleet.Options{Name: name, Store: n.Link, Poll: timing.Poll, Lease: timing.Lease, MissingAfter: 20 * time.Second, Patience: timing.Patience, Finish: timing.Finish, Imports: imports}, n.Engine)
	n.Engine.Join(n.Agent)
	if err := n.Engine.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *Node) start(t *testing.T) {
	n.Engine.Start()
	n.Agent.Start()
	t.Cleanup(func() { n.Agent.Stop(); n.Engine.Close() })
}

// StartAll starts proxies, each with a store of its own that open returns.
func StartAll(t *testing.T, size int, timing Timing, open func(t *testing.T) fleet.Store) (nodes []*Node) {
	t.Helper()
	for i := range size {
		nodes = append(nodes, Start(t, open(t), fmt.Sprintf("proxy-%d", i+1), timing))
	}
	return nodes
}

// Await waits until ok.
func Await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	if !within(ok) {
		t.Fatalf("in vain: waited until %s", what)
	}
}

// within reports whether ok becomes true in time.
func within(ok func() bool) bool {
	for until := time.Now().Add(15 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(until) {
			return false
		}
	}
	return true
}

// App starts an app, and returns its address.
func App(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// Deploy deploys a target to a service, which has a host of its own name.
func (n *Node) Deploy(t *testing.T, service, target string) (api.DeploymentStatus, error) {
	t.Helper()
	return n.DeployHost(t, service, target, service+".test")
}

// DeployHost is Deploy with another host.
func (n *Node) DeployHost(t *testing.T, service, target, host string) (api.DeploymentStatus, error) {
	t.Helper()
	return n.deploy(t, api.DeployRequest{Service: service, Targets: []string{target}, Hosts: []string{host}})
}

// DeployWithout is Deploy without a proxy that is known to be gone.
func (n *Node) DeployWithout(t *testing.T, service, target, gone string) (api.DeploymentStatus, error) {
	t.Helper()
	return n.deploy(t, api.DeployRequest{Service: service, Targets: []string{target}, Hosts: []string{service + ".test"}, Without: []string{gone}})
}

func (n *Node) deploy(t *testing.T, req api.DeployRequest) (api.DeploymentStatus, error) {
	d, err := n.Engine.Deploy(req.Patch())
	if err != nil {
		return api.DeploymentStatus{}, err
	}
	return d.Wait(t.Context())
}

// Serves says what the proxy serves: the release, its target and whether it is held.
func (n *Node) Serves(service string) string {
	for _, s := range n.Engine.Services() {
		if s.Name == service && s.Active != nil {
			return fmt.Sprintf("v%d %s %v", s.Active.Release, s.Active.Targets[0].Address, s.Hold != nil)
		}
	}
	return ""
}

// ServesTarget reports whether the proxy serves a target.
func (n *Node) ServesTarget(service, target string) bool {
	return strings.Contains(n.Serves(service), " "+target+" ")
}

// Converged fails the test if a proxy serves anything else.
func Converged(t *testing.T, nodes []*Node, service, want string) {
	t.Helper()
	for _, n := range nodes {
		if got := n.Serves(service); got != want {
			t.Errorf("%s serves %q, want %q", n.Name, got, want)
		}
	}
}

// Misses reports whether the proxy sees another one as missing.
func (n *Node) Misses(name string) bool {
	return slices.ContainsFunc(n.Agent.Status().Members, func(m api.FleetMember) bool { return m.Name == name && m.State == api.FleetGone })
}
