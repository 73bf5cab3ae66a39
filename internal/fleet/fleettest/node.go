package fleettest

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/fleet"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

// files is a [proxy.Store] in memory.
type files struct {
	// mu guards what follows.
	mu              sync.Mutex
	docs, histories map[string][]byte
}

func (f *files) Save(_ context.Context, s string, b []byte, _ func([]byte) bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.docs[s] = b
	return nil
}

func (f *files) SaveHistory(_ context.Context, s string, b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.histories[s] = b
	return nil
}

func (f *files) LoadHistory(_ context.Context, s string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.histories[s] == nil {
		return nil, fs.ErrNotExist
	}
	return f.histories[s], nil
}

func (f *files) Delete(_ context.Context, s string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.docs, s)
	delete(f.histories, s)
	return nil
}

func (f *files) Load(_ context.Context, s string) ([][]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.docs[s] == nil {
		return nil, nil
	}
	return [][]byte{f.docs[s]}, nil
}

func (f *files) List(context.Context) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Keys(f.docs)), nil
}

// Timing is how often a proxy of a test looks at its store, and how long one counts as there that is
// not heard of.
type Timing struct{ Poll, Lease time.Duration }

var (
	// InProcess is for stores that are in the process of the test.
	InProcess = Timing{Poll: 10 * time.Millisecond, Lease: time.Second}
	// ByNetwork is for those that are not, also on a busy machine.
	ByNetwork = Timing{Poll: 100 * time.Millisecond, Lease: 5 * time.Second}
)

// Node is one proxy of a fleet in a test.
type Node struct {
	Name   string
	Engine *proxy.Engine
	Agent  *fleet.Agent
	Link   *Link

	files *files
}

// Start starts a proxy, and returns when it has caught up. It is stopped when the test ends.
func Start(t *testing.T, b fleet.Store, name string, timing Timing) *Node {
	t.Helper()
	n := boot(t, b, name, timing, &files{docs: map[string][]byte{}, histories: map[string][]byte{}})
	Await(t, name+" is ready", n.Agent.Ready)
	return n
}

// Restart stops a proxy, and starts one with what it has stored. It does not wait for it to catch up.
func (n *Node) Restart(t *testing.T, b fleet.Store, timing Timing) *Node {
	t.Helper()
	n.Agent.Stop()
	n.Engine.Close()
	return boot(t, b, n.Name, timing, n.files)
}

func boot(t *testing.T, b fleet.Store, name string, timing Timing, stored *files) *Node {
	t.Helper()
	n := &Node{Name: name, Link: &Link{Store: b}, files: stored}
	n.Engine = proxy.NewEngine(proxy.EngineOptions{Store: stored})
	n.Agent = fleet.New(fleet.Options{Name: name, Store: n.Link, Poll: timing.Poll, Lease: timing.Lease, MissingAfter: 20 * time.Second, Patience: 5 * time.Second}, n.Engine)
	n.Engine.Join(n.Agent)
	if err := n.Engine.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.Engine.Start()
	n.Agent.Start()
	t.Cleanup(func() { n.Agent.Stop(); n.Engine.Close() })
	return n
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
	for until := time.Now().Add(15 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("in vain: waited until %s", what)
		}
	}
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
