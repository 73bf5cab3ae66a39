package fleet

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

// files is a [proxy.Store] in memory.
type files struct {
	mu              sync.Mutex
	docs, histories map[string][]byte
}

func newFiles() *files { return &files{docs: map[string][]byte{}, histories: map[string][]byte{}} }

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

func (f *files) List(context.Context) (names []string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n := range f.docs {
		names = append(names, n)
	}
	return names, nil
}

// node is one proxy of a fleet in a test.
type node struct {
	engine *proxy.Engine
	agent  *Agent
	link   *link
	files  *files
}

const testLease = time.Second

func startNode(t *testing.T, m *memory, name string, f *files) *node {
	t.Helper()
	n := &node{link: &link{memory: m}, files: f}
	n.engine = proxy.NewEngine(proxy.EngineOptions{Store: f})
	n.agent = New(Options{Name: name, Backend: n.link, Poll: 10 * time.Millisecond, Lease: testLease, MissingAfter: 20 * time.Second, Patience: time.Second}, n.engine)
	n.engine.Join(n.agent)
	if err := n.engine.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.engine.Start()
	n.agent.Start()
	t.Cleanup(func() { n.agent.Stop(); n.engine.Close() })
	await(t, name+" is ready", n.agent.Ready)
	return n
}

func startFleet(t *testing.T, size int) (*memory, []*node) {
	m := newMemory()
	var nodes []*node
	for i := range size {
		nodes = append(nodes, startNode(t, m, fmt.Sprintf("proxy-%d", i+1), newFiles()))
	}
	return m, nodes
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for until := time.Now().Add(15 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("in vain: waited until %s", what)
		}
	}
}

func app(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func (n *node) deploy(t *testing.T, service, target string) (api.DeploymentStatus, error) {
	t.Helper()
	d, err := n.engine.Deploy(api.DeployRequest{Service: service, Targets: []string{target}, Hosts: []string{service + ".test"}}.Patch())
	if err != nil {
		return api.DeploymentStatus{}, err
	}
	return d.Wait(t.Context())
}

func (n *node) serves(service string) string {
	for _, s := range n.engine.Services() {
		if s.Name == service && s.Active != nil {
			return fmt.Sprintf("v%d %s %v", s.Active.Release, s.Active.Targets[0].Address, s.Hold != nil)
		}
	}
	return ""
}

func converged(t *testing.T, nodes []*node, service, want string) {
	t.Helper()
	for i, n := range nodes {
		if got := n.serves(service); got != want {
			t.Errorf("proxy-%d serves %q, want %q", i+1, got, want)
		}
	}
}

func TestEveryOperationIsDoneByAllProxies(t *testing.T) {
	for _, size := range []int{3, 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			_, nodes := startFleet(t, size)
			a, b := app(t), app(t)
			if s, err := nodes[0].deploy(t, "web", a); err != nil || len(s.Fleet) != size {
				t.Fatalf("%+v, %v", s.Fleet, err)
			}
			converged(t, nodes, "web", "v1 "+a+" false")
			s, err := nodes[1].deploy(t, "web", b)
			if err != nil {
				t.Fatal(err)
			}
			for _, step := range s.Fleet {
				if step.Phase != api.FleetDrained {
					t.Errorf("%+v", step)
				}
			}
			converged(t, nodes, "web", "v2 "+b+" false")
			if _, err := nodes[2].engine.Hold(t.Context(), "web", api.Paused, api.HoldRequest{}); err != nil {
				t.Fatal(err)
			}
			converged(t, nodes, "web", "v2 "+b+" true")
			if _, err := nodes[0].engine.Resume("web", ""); err != nil {
				t.Fatal(err)
			}
			d, err := nodes[2].engine.Rollback(t.Context(), "web", api.RollbackRequest{})
			if err == nil {
				_, err = d.Wait(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
			converged(t, nodes, "web", "v3 "+a+" false")
			if _, err := nodes[1].engine.Remove("web", api.RemoveRequest{}); err != nil {
				t.Fatal(err)
			}
			converged(t, nodes, "web", "")
		})
	}
}

func TestOfRivalsExactlyOneWins(t *testing.T) {
	_, nodes := startFleet(t, 3)
	for round := range 5 {
		targets := []string{app(t), app(t), app(t)}
		won := make([]bool, 3)
		var rivals sync.WaitGroup
		for i, n := range nodes {
			rivals.Go(func() {
				_, err := n.deploy(t, "web", targets[i])
				if won[i] = err == nil; err != nil && api.ErrorCode(err) != api.CodeSuperseded {
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		rivals.Wait()
		// A rival that began after another one had been decided wins after it.
		last := nodes[0].serves("web")
		converged(t, nodes, "web", last)
		if won[0] == won[1] && won[1] == won[2] && !won[0] {
			t.Errorf("round %d: nobody has won", round)
		}
	}
}

func TestRefusalByOneProxyChangesNothing(t *testing.T) {
	m, nodes := startFleet(t, 3)
	a := app(t)
	if _, err := nodes[0].deploy(t, "web", a); err != nil {
		t.Fatal(err)
	}
	nodes[2].engine.Shutdown(t.Context()) // so that it refuses
	_, err := nodes[0].deploy(t, "web", app(t))
	if err == nil || !strings.Contains(err.Error(), "proxy-3 says") {
		t.Fatal(err)
	}
	converged(t, nodes, "web", "v1 "+a+" false")
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.decided["web"]; len(m.decided) != 1 || !strings.Contains(string(d.Document), a) {
		t.Errorf("%+v", d)
	}
}

func TestTwoServicesDoNotGetTheSameHost(t *testing.T) {
	_, nodes := startFleet(t, 3)
	target := app(t)
	errs := make([]error, 2)
	var rivals sync.WaitGroup
	for i, name := range []string{"one", "two"} {
		rivals.Go(func() {
			d, err := nodes[i].engine.Deploy(api.DeployRequest{Service: name, Targets: []string{target}, Hosts: []string{"shop.test"}}.Patch())
			if err == nil {
				_, err = d.Wait(t.Context())
			}
			errs[i] = err
		})
	}
	rivals.Wait()
	if (errs[0] == nil) == (errs[1] == nil) {
		t.Fatalf("%v, %v", errs[0], errs[1])
	}
}

func TestStoreThatCannotBeReachedChangesNothing(t *testing.T) {
	m, nodes := startFleet(t, 3)
	a := app(t)
	if _, err := nodes[0].deploy(t, "web", a); err != nil {
		t.Fatal(err)
	}
	m.setDown(true)
	_, err := nodes[0].deploy(t, "web", app(t))
	if api.ErrorCode(err) != api.CodeFleet || !strings.Contains(err.Error(), "cannot be reached") || !strings.Contains(err.Error(), "nothing has changed") {
		t.Fatal(err)
	}
	converged(t, nodes, "web", "v1 "+a+" false")
	m.setDown(false)
	b := app(t)
	await(t, "the fleet decides again", func() bool { _, err := nodes[1].deploy(t, "web", b); return err == nil })
	converged(t, nodes, "web", nodes[0].serves("web"))
}

func TestLostAnswerOfADecisionIsLookedUp(t *testing.T) {
	_, nodes := startFleet(t, 3)
	nodes[0].link.loseDecide = true
	a := app(t)
	if _, err := nodes[0].deploy(t, "web", a); err != nil {
		t.Fatal(err)
	}
	converged(t, nodes, "web", "v1 "+a+" false")
}

func TestProxyThatWasCutOffIsNamedAndCatchesUp(t *testing.T) {
	_, nodes := startFleet(t, 3)
	a, b := app(t), app(t)
	if _, err := nodes[0].deploy(t, "web", a); err != nil {
		t.Fatal(err)
	}
	nodes[2].link.setCut(true)
	await(t, "proxy-3 is missed", func() bool {
		_, missing := nodes[0].agent.leases.others("proxy-1", time.Now())
		return len(missing) == 1
	})
	_, err := nodes[0].deploy(t, "web", b)
	if api.ErrorCode(err) != api.CodeFleet || !strings.Contains(err.Error(), "proxy-3") {
		t.Fatal(err)
	}
	if err := nodes[0].agent.Forget(t.Context(), "proxy-3"); err != nil {
		t.Fatal(err)
	}
	if _, err := nodes[0].deploy(t, "web", b); err != nil {
		t.Fatal(err)
	}
	converged(t, nodes[2:], "web", "v1 "+a+" false")
	nodes[2].link.setCut(false)
	await(t, "proxy-3 has caught up", func() bool { return nodes[2].serves("web") == "v2 "+b+" false" })
}

func TestCoordinatorThatIsCutOffBeforeTheDecisionHasChangedNothing(t *testing.T) {
	_, nodes := startFleet(t, 3)
	nodes[0].link.before = func() { nodes[0].link.setCut(true) }
	_, err := nodes[0].deploy(t, "web", app(t))
	if api.ErrorCode(err) != api.CodeFleetUnknown {
		t.Fatal(err)
	}
	converged(t, nodes, "web", "")
}
