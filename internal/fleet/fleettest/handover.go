package fleettest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/fleet"
	"github.com/parachute-proxy/parachute/internal/forward"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

// followers are processes that another one has taken over from. They are a [proxy.Followers].
type followers []*proxy.Engine

func (f followers) Apply(service string, document []byte) {
	for _, e := range f {
		_ = e.Apply(service, document)
	}
}

func (f followers) Drain(service string, release int, progress func(requests, streams int)) (all []api.Drain) {
	for _, e := range f {
		if d, err := e.DrainOld(context.Background(), service, release, progress); err == nil && d.Requests+d.Streams > 0 {
			all = append(all, d)
		}
	}
	return all
}

// Succeed has another process of the proxy take its place, as an upgrade does: n follows it.
func (n *Node) Succeed(t *testing.T, b fleet.Store, timing Timing) *Node {
	t.Helper()
	n.Engine.Follow()
	standing := n.Agent.Suspend(len(n.followers) + 1)
	next := assemble(t, b, n.Name, timing, n.disk.copy(), fleet.Imports{}, append(slices.Clip(n.followers), n.Engine))
	if err := next.Agent.Adopt(standing); err != nil {
		t.Fatal(err)
	}
	next.start(t)
	return next
}

// held is a request that its target does not answer until it may.
type held struct {
	target string
	begun  chan struct{}
	may    chan struct{}
	status chan int
}

// hold has a proxy send a request of the service web to a target, which answers it when the test says so.
func hold(t *testing.T) *held {
	h := &held{begun: make(chan struct{}), may: make(chan struct{}), status: make(chan int, 1)}
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/held" {
			close(h.begun)
			<-h.may
		}
	}))
	h.target = strings.TrimPrefix(s.URL, "http://")
	t.Cleanup(s.Close)
	return h
}

// by makes the request to a proxy, and returns when the target has it.
func (h *held) by(t *testing.T, n *Node) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = n.Engine.ServeHTTP(w, r, "web", forward.Sender{})
	}))
	t.Cleanup(s.Close)
	go func() {
		resp, err := http.Get(s.URL + "/held")
		if err != nil {
			h.status <- 0
			return
		}
		resp.Body.Close()
		h.status <- resp.StatusCode
	}()
	<-h.begun
}

// end has the target answer.
func (h *held) end(t *testing.T) {
	t.Helper()
	close(h.may)
	if status := <-h.status; status != http.StatusOK {
		t.Errorf("the request is answered %d", status)
	}
}

// change is a deployment that goes on.
type change struct {
	*proxy.Deployment
	over chan error
}

// begin begins to deploy a target to the service web, of which requests have so long to end.
func (n *Node) begin(t *testing.T, target string, drain time.Duration) *change {
	t.Helper()
	limit := api.Duration(drain)
	d, err := n.Engine.Deploy(api.DeployRequest{Service: "web", Targets: []string{target}, Hosts: []string{"web.test"}, DrainTimeout: &limit, StreamTimeout: &limit}.Patch())
	if err != nil {
		t.Fatal(err)
	}
	c := &change{d, make(chan error, 1)}
	go func() { _, err := d.Wait(t.Context()); c.over <- err }()
	return c
}

// phase returns how far a proxy is said to be.
func (c *change) phase(proxy string) api.FleetPhase {
	for _, s := range c.Status().Fleet {
		if s.Proxy == proxy {
			return s.Phase
		}
	}
	return ""
}

// Handover tests that a process takes part in the place of another one of its proxy, while the others notice nothing.
func Handover(t *testing.T, timing Timing, open func(*testing.T) fleet.Store) {
	nodes := StartAll(t, 3, timing, open)
	stop := make(chan struct{})
	defer close(stop)
	missed := make(chan string, 1)
	go func() {
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			if nodes[1].Misses("proxy-1") || nodes[1].Agent.Status().Live() < 3 {
				select {
				case missed <- "missed":
				default:
				}
			}
		}
	}()
	first := hold(t)
	if _, err := nodes[0].Deploy(t, "web", first.target); err != nil {
		t.Fatal(err)
	}
	Await(t, "all are live", func() bool { return nodes[1].Agent.Status().Live() == 3 })
	select {
	case <-missed: // before that
	default:
	}
	first.by(t, nodes[0])
	before := nodes[0]
	now := before.Succeed(t, open(t), timing)
	if !now.Agent.Ready() {
		t.Error("the next process is not ready at once")
	}

	// A proxy has drained when the process before holds nothing either.
	second := App(t)
	c := nodes[1].begin(t, second, time.Minute)
	Await(t, "the others have drained", func() bool { return c.phase("proxy-3") == api.FleetDrained && c.phase("proxy-1") == api.FleetApplied })
	if !before.ServesTarget("web", second) {
		t.Error("the process before does not follow")
	}
	// Nor is that forgotten by a process that comes later, which has never had the release.
	last := now.Succeed(t, open(t), timing)
	select {
	case err := <-c.over:
		t.Errorf("the deployment ends while a process holds a request: %v", err)
	case <-time.After(20 * timing.Poll):
	}
	first.end(t)
	if err := <-c.over; err != nil || c.phase("proxy-1") != api.FleetDrained {
		t.Errorf("%v, %s", err, c.phase("proxy-1"))
	}

	// What the process before has decided goes on there.
	third, fourth := hold(t), App(t)
	if _, err := last.Deploy(t, "web", third.target); err != nil {
		t.Fatal(err)
	}
	third.by(t, nodes[2])
	c = last.begin(t, fourth, time.Minute)
	Await(t, "it is decided", func() bool { return c.phase("proxy-2") == api.FleetDrained })
	next := last.Succeed(t, open(t), timing)
	select {
	case err := <-c.over:
		t.Errorf("the deployment ends while another proxy holds a request: %v", err)
	case <-time.After(20 * timing.Poll):
	}
	third.end(t)
	if err := <-c.over; err != nil {
		t.Error(err)
	}

	// One that has failed to take over leaves nothing behind, and what drained meanwhile is told.
	fifth := hold(t)
	if _, err := nodes[1].Deploy(t, "web", fifth.target); err != nil {
		t.Fatal(err)
	}
	fifth.by(t, next)
	c = nodes[1].begin(t, App(t), time.Minute)
	Await(t, "it is applied", func() bool { return c.phase("proxy-1") == api.FleetApplied })
	next.Agent.Suspend(len(next.followers) + 1)
	next.Agent.Resume()
	fifth.end(t)
	select {
	case err := <-c.over:
		if err != nil || c.phase("proxy-1") != api.FleetDrained {
			t.Errorf("%v, %s", err, c.phase("proxy-1"))
		}
	case <-time.After(20 * time.Second):
		t.Error("the end of a drain is not told that was under way when the process had failed to take over")
	}
	for _, n := range []*Node{next, nodes[1]} {
		target := App(t)
		if _, err := n.Deploy(t, "web", target); err != nil {
			t.Errorf("%s: %v", n.Name, err)
		}
		Converged(t, []*Node{next, nodes[1], nodes[2]}, "web", nodes[1].Serves("web"))
	}
	select {
	case <-missed:
		t.Error("the others have missed the proxy")
	default:
	}
	Await(t, "it follows its fleet", func() bool { return next.Agent.Status().Problem == "" })
}

// DeadPredecessor tests that what a process has decided is cleaned up if it ends before all have drained, and another one
// has taken over.
func DeadPredecessor(t *testing.T, timing Timing, open func(*testing.T) fleet.Store) {
	timing.Finish = time.Second
	nodes := StartAll(t, 2, timing, open)
	first := hold(t)
	if _, err := nodes[0].Deploy(t, "web", first.target); err != nil {
		t.Fatal(err)
	}
	first.by(t, nodes[1])
	c := nodes[0].begin(t, App(t), 2*time.Second)
	Await(t, "it is decided", func() bool { return c.phase("proxy-2") == api.FleetApplied })
	next := nodes[0].Succeed(t, open(t), timing)
	planned := func() bool {
		s, err := nodes[1].Link.Store.Look(t.Context())
		_, isThere := s.Plan("web")
		return err != nil || isThere
	}
	next.Agent.Living([]int{0}) // which may be that one
	next.Agent.Ended(2)
	time.Sleep(10 * timing.Poll) // in which it is left alone
	if !planned() {
		t.Error("the plan of a process that lives is withdrawn")
	}
	next.Agent.Living([]int{2})
	Await(t, "the plan is withdrawn", func() bool { return !planned() })
	first.end(t)
}
