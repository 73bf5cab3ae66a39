package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// stayingApp is an app that tells how it is connected to.
type stayingApp struct {
	*testkit.App
	// open is the number of connections that are open.
	open atomic.Int64
	mu   sync.Mutex
	// dialled has the other side of every connection that has carried a request, no probe.
	dialled map[string]bool
}

// startStayingApp starts an app that is reached by scheme: http, https or h2c.
func startStayingApp(t *testing.T, scheme, name string) *stayingApp {
	t.Helper()
	return newStayingApp(name).start(t, scheme, testkit.Listen(t, "tcp", "127.0.0.1:0"))
}

func newStayingApp(name string) *stayingApp {
	a := &stayingApp{App: testkit.NewApp(name), dialled: make(map[string]bool)}
	a.Server.ErrorLog = log.New(io.Discard, "", 0)
	a.Server.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			a.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			a.open.Add(-1)
		}
	}
	a.Handler = func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.dialled[r.RemoteAddr] = true
		a.mu.Unlock()
		switch r.URL.Path {
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: first\n\n")
			_ = http.NewResponseController(w).Flush()
			fallthrough
		case "/slow":
			a.Arrived <- struct{}{}
			select {
			case <-a.Finish:
			case <-r.Context().Done():
				panic(http.ErrAbortHandler) // an answer might still be in time
			}
		}
		_, _ = io.WriteString(w, name)
	}
	return a
}

func (a *stayingApp) start(t *testing.T, scheme string, l net.Listener) *stayingApp {
	t.Helper()
	switch scheme {
	case "https":
		authority := testkit.NewAuthority(t, "test", time.Now().Add(time.Hour))
		l = tls.NewListener(l, &tls.Config{
			Certificates: []tls.Certificate{authority.Issue(time.Now().Add(time.Hour), "127.0.0.1")}, MinVersion: tls.VersionTLS12,
		})
	case "h2c":
		a.Server.Protocols = new(http.Protocols)
		a.Server.Protocols.SetUnencryptedHTTP2(true)
	}
	if a.App.Start(t, l); scheme != "http" {
		a.Target = scheme + "://" + a.Target
	}
	return a
}

// connections returns how many connections requests have been sent over.
func (a *stayingApp) connections() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.dialled)
}

func appsOf(all ...*stayingApp) (apps []*testkit.App) {
	for _, a := range all {
		apps = append(apps, a.App)
	}
	return apps
}

// askAll sends requests one after the other, so that none needs a connection of its own,
// until every app has had some.
func (e *testEngine) askAll(apps ...*stayingApp) {
	e.t.Helper()
	before := make([]int64, len(apps))
	for i, a := range apps {
		before[i] = a.Served.Load()
	}
	for range 2 * len(apps) {
		e.wantAnswer2xx("h")
		e.settle()
	}
	for i, a := range apps {
		if a.Served.Load() == before[i] {
			e.t.Fatalf("the app %d of %d has had no request", i+1, len(apps))
		}
	}
}

// TestScalingConnectsToNothingAgain neither up, down nor back, forced or not.
func TestScalingConnectsToNothingAgain(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https", "h2c"} {
		for _, force := range []bool{false, true} {
			t.Run(fmt.Sprint(scheme, " forced ", force), func(t *testing.T) {
				t.Parallel()
				e := newTestEngine(t)
				a, b, c := startStayingApp(t, scheme, "a"), startStayingApp(t, scheme, "b"), startStayingApp(t, scheme, "c")
				deploy := func(apps ...*stayingApp) {
					t.Helper()
					req := requestFor("app", appsOf(apps...)...)
					req.Force, req.LB, req.TargetInsecure = force, api.RoundRobin, scheme == "https"
					e.deploy(req)
					e.askAll(apps...)
				}
				deploy(a, b)
				deploy(a, b, c)
				deploy(c, a)
				// A rollback is a deploy as well.
				d, err := e.Rollback(t.Context(), "app", api.RollbackRequest{})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := wait(t, d); err != nil {
					t.Fatal(err)
				}
				e.askAll(a, b, c)
				if a.connections() != 1 || c.connections() != 1 {
					t.Errorf("the apps that stayed have had %d and %d connections, want 1 each", a.connections(), c.connections())
				}
				if b.connections() != 2 {
					t.Errorf("the app that had gone has had %d connections, want another one", b.connections())
				}
			})
		}
	}
}

// TestHealthStaysWithATargetThatStays whatever its siblings are. A forced deploy asks nobody.
func TestHealthStaysWithATargetThatStays(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a, b, c := testkit.StartApp(t, "a"), testkit.StartApp(t, "b"), testkit.StartApp(t, "c")
	e.deploy(requestFor("app", a, b))
	b.Health.Store(http.StatusInternalServerError)
	testkit.WaitFor(t, "the failure", func() bool { return e.target("app", 1).Health == api.HealthFailing })
	since := *e.target("app", 1).Since
	req := requestFor("app", a, b, c)
	req.Force = true
	e.deploy(req)
	if got := e.target("app", 1); got.Health != api.HealthFailing || !got.Since.Equal(since) || got.Reason == "" {
		t.Errorf("after the deploy the target is %+v, want it failing since %s", got, since)
	}
	if got := e.target("app", 0); got.Health != api.HealthHealthy {
		t.Errorf("its sibling is %+v", got)
	}
	// The watch goes on, and tells of the release that serves.
	r := e.follow("")
	b.Health.Store(http.StatusOK)
	if ev := nextHealth(t, r, b.Target); ev.Release != 2 || ev.Health != api.HealthHealthy {
		t.Errorf("told %+v, want that %s of v2 is healthy", ev, b.Target)
	}
}

// nextHealth returns the next event about the health of a target.
func nextHealth(t *testing.T, r *FeedReader, target string) api.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Timeout)
	defer cancel()
	for {
		events, err := r.Next(ctx)
		if err != nil {
			t.Fatalf("waiting for the health of %s: %v", target, err)
		}
		for _, ev := range events {
			if ev.Data.Kind == api.EventHealthChanged && ev.Data.Target == target {
				return ev.Data
			}
		}
	}
}

// TestTargetThatPassesTheGateIsHealthyAgain at the switch, and not when the watch comes to it.
func TestTargetThatPassesTheGateIsHealthyAgain(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	l := testkit.Listen(t, "tcp", "127.0.0.1:0")
	a, b := testkit.NewApp("a").Start(t, l), testkit.StartApp(t, "b")
	req := requestFor("app", a, b)
	req.HealthCheckInterval, req.LB = testkit.Milliseconds(3_600_000), api.RoundRobin
	e.deploy(req)
	a.Kill()
	for range 2 {
		e.wantAnswer("h", "/", "b")
	}
	if got := e.target("app", 0); got.Health != api.HealthFailing {
		t.Fatalf("the target that was killed is %+v", got)
	}
	testkit.NewApp("a").Start(t, testkit.Listen(t, "tcp", l.Addr().String()))
	r := e.follow("")
	e.deploy(req)
	if got := e.target("app", 0); got.Health != api.HealthHealthy || got.Reason != "" {
		t.Errorf("after the deploy it is %+v", got)
	}
	if ev := nextHealth(t, r, a.Target); ev.Release != 2 || ev.Health != api.HealthHealthy {
		t.Errorf("told %+v, want that %s of v2 is healthy", ev, a.Target)
	}
}

// TestCutOfTheOldReleaseLeavesTheNewAlone though both are on the same target.
func TestCutOfTheOldReleaseLeavesTheNewAlone(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https", "h2c"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			e := newTestEngine(t)
			a := startStayingApp(t, scheme, "a")
			req := requestFor("app", a.App)
			req.TargetInsecure = scheme == "https"
			e.deploy(req)
			e.askAll(a)
			ask := func(path string) <-chan string {
				answer := make(chan string, 1)
				go func() {
					status, body := e.get("h", path)
					answer <- fmt.Sprint(status, " ", body)
				}()
				testkit.Receive(t, a.Arrived, "the request")
				return answer
			}
			oneOfEach := func() bool {
				s, _ := e.Service("app")
				return s.Active.Requests == 1 && s.Active.Streams == 1
			}
			oldRequest, oldStream := ask("/slow"), ask("/events")
			testkit.WaitFor(t, "the stream of the old release", oneOfEach)
			req.DrainTimeout, req.StreamTimeout = testkit.Milliseconds(500), testkit.Milliseconds(100)
			d := e.start(req)
			await(t, d, api.EventSwitched, 1)
			newRequest, newStream := ask("/slow"), ask("/events")
			testkit.WaitFor(t, "the stream of the new release", oneOfEach)
			status, err := wait(t, d)
			if err != nil {
				t.Fatal(err)
			}
			if got := status.Drained[0]; got.Requests != 1 || got.Streams != 1 || got.CutRequests != 1 {
				t.Errorf("drained %+v, want one request, which is cut, and one stream", got)
			}
			if got := testkit.Receive(t, oldRequest, "the answer to the cut request"); !strings.HasPrefix(got, "503 cut: the drain timeout was over") {
				t.Errorf("the cut request gets %q", got)
			}
			if got := testkit.Receive(t, oldStream, "the end of the old stream"); got != "200 data: first\n\n" {
				t.Errorf("the old stream had %q", got)
			}
			if s, _ := e.Service("app"); s.Active.Requests != 1 || s.Active.Streams != 1 || len(s.Draining) != 0 {
				t.Errorf("after the drain there is %+v", s)
			}
			close(a.Finish)
			if got := testkit.Receive(t, newRequest, "the answer to the new request"); got != "200 a" {
				t.Errorf("the new request gets %q", got)
			}
			if got := testkit.Receive(t, newStream, "the end of the new stream"); got != "200 data: first\n\na" {
				t.Errorf("the new stream had %q", got)
			}
		})
	}
}

// release returns the release of a service that serves.
func (e *testEngine) release(service string) *release {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.services[service].release()
}

// wantNoConnections fails the test if a release that has ended has any, which would end by
// themselves some time.
func wantNoConnections(t *testing.T, r *release) {
	t.Helper()
	for _, target := range r.Status().Targets {
		if target.Connections != 0 {
			t.Errorf("%d connections to %s are left", target.Connections, target.Address)
		}
	}
}

// TestTargetsThatGoAreLetGo when the last release that has them has drained: no connection
// is left, idle or not.
func TestTargetsThatGoAreLetGo(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https", "h2c"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			e := newTestEngine(t)
			a, b, c := startStayingApp(t, scheme, "a"), startStayingApp(t, scheme, "b"), startStayingApp(t, scheme, "c")
			deploy := func(apps ...*stayingApp) {
				t.Helper()
				req := requestFor("app", appsOf(apps...)...)
				// Idle connections would end by themselves, and probes come and go.
				req.LB, req.TargetInsecure, req.HealthCheckInterval = api.RoundRobin, scheme == "https", testkit.Milliseconds(3_600_000)
				e.deploy(req)
				e.askAll(apps...)
			}
			deploy(a, b)
			deploy(a, b, c)
			all := e.release("app")
			deploy(b, c)
			if got := all.Status().Targets[0]; got.Connections != 0 {
				t.Errorf("%d connections to what has gone", got.Connections)
			}
			testkit.WaitFor(t, "the end of the connections to what has gone", func() bool { return a.open.Load() == 0 })
			if b.open.Load() == 0 || c.open.Load() == 0 {
				t.Errorf("%d and %d connections to what has stayed", b.open.Load(), c.open.Load())
			}
			last := e.release("app")
			if _, err := e.Remove("app", api.RemoveRequest{}); err != nil {
				t.Fatal(err)
			}
			wantNoConnections(t, last)
			testkit.WaitFor(t, "the end of all connections", func() bool { return b.open.Load() == 0 && c.open.Load() == 0 })
		})
	}
}

// TestDeployThatFailsLeavesThePoolAlone at its gate, or when it cannot be stored.
func TestDeployThatFailsLeavesThePoolAlone(t *testing.T) {
	t.Parallel()
	store := &faultyStore{memoryStore: newMemoryStore()}
	e := newTestEngine(t, withStore(store))
	a, b := startStayingApp(t, "http", "a"), startStayingApp(t, "http", "b")
	sick := testkit.StartApp(t, "sick")
	sick.Health.Store(http.StatusInternalServerError)
	req := requestFor("app", a.App, b.App)
	req.LB = api.RoundRobin
	e.deploy(req)
	e.askAll(a, b)
	failing := req
	failing.Targets = append(append([]string(nil), req.Targets...), sick.Target)
	failing.DeployTimeout = testkit.Milliseconds(100)
	_, err := wait(t, e.start(failing))
	wantCode(t, err, api.CodeNotHealthy)
	var full atomic.Bool
	full.Store(true)
	store.onSave = func(string) error {
		if full.Load() {
			return errDiskFull
		}
		return nil
	}
	sick.Health.Store(http.StatusOK)
	_, err = wait(t, e.start(failing))
	wantCode(t, err, api.CodeStorage)
	e.askAll(a, b)
	if a.connections() != 1 || b.connections() != 1 {
		t.Errorf("%d and %d connections, want 1 each", a.connections(), b.connections())
	}
	probes := a.Probes.Load()
	testkit.WaitFor(t, "another probe", func() bool { return a.Probes.Load() > probes+1 })
	// The next one inherits, as if there had been none between.
	full.Store(false)
	e.deploy(req)
	e.askAll(a, b)
	if a.connections() != 1 || b.connections() != 1 {
		t.Errorf("after the deploys that failed, %d and %d connections, want 1 each", a.connections(), b.connections())
	}
}

// TestOtherOptionsShareNothing so that none is applied to what was not made for it.
func TestOtherOptionsShareNothing(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a := startStayingApp(t, "http", "a")
	req := requestFor("app", a.App)
	e.deploy(req)
	e.askAll(a)
	for i, change := range []func(*api.DeployRequest){
		func(r *api.DeployRequest) { r.TargetTimeout = testkit.Milliseconds(5000) },
		func(r *api.DeployRequest) { r.HealthCheckPath = "/up?again" },
		func(r *api.DeployRequest) { r.Hosts = []string{"h"} }, // which probes are sent with
	} {
		change(&req)
		e.deploy(req)
		e.askAll(a)
		if got := a.connections(); got != i+2 {
			t.Errorf("%d connections after change %d, want %d", got, i+1, i+2)
		}
	}
	req.Hosts, req.HoldTimeout, req.PathPrefixes = []string{"h", "other"}, testkit.Milliseconds(100), []string{"/", "/x"}
	e.deploy(req)
	e.askAll(a)
	if got := a.connections(); got != 4 {
		t.Errorf("%d connections after a change that does not concern the target", got)
	}
}

// TestInstanceAtAnotherPlaceGetsConnectionsOfItsOwn though the target is called the same
// and the one before still runs: that is what was deployed.
func TestInstanceAtAnotherPlaceGetsConnectionsOfItsOwn(t *testing.T) {
	t.Parallel()
	t.Run("name", func(t *testing.T) {
		t.Parallel()
		for _, noticed := range []bool{false, true} {
			dns, resolver := startNameServer(t)
			dns.set("web", "127.0.0.1")
			e := newTestEngine(t, withResolver(resolver))
			first := testkit.StartApp(t, "first")
			_, port, _ := net.SplitHostPort(first.Target)
			l, err := net.Listen("tcp", "127.0.0.2:"+port)
			if err != nil {
				t.Skip("there is no second loopback address here: ", err)
			}
			second := testkit.NewApp("second").Start(t, l)
			req := requestFor("app")
			req.Targets = []string{"web:" + port}
			if !noticed {
				req.HealthCheckInterval = testkit.Milliseconds(3_600_000)
			}
			e.deploy(req)
			e.wantAnswer("h", "/", "first")
			dns.set("web", "127.0.0.2")
			if noticed { // by the watch, which connects anew
				testkit.WaitFor(t, "a probe of the second", func() bool { return second.Probes.Load() > 1 })
			}
			e.wantAnswer("h", "/", "first") // there is a connection
			e.deploy(req)
			e.wantAnswer("h", "/", "second")
		}
	})
	t.Run("socket", func(t *testing.T) {
		t.Parallel()
		e := newTestEngine(t)
		path := testkit.SocketPath(t)
		l := testkit.Listen(t, "unix", path)
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		req := requestFor("app", testkit.NewApp("first").Start(t, l))
		e.deploy(req)
		e.wantAnswer("h", "/", "first")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		testkit.NewApp("second").Start(t, testkit.Listen(t, "unix", path))
		e.deploy(req)
		e.wantAnswer("h", "/", "second")
	})
}

// TestScalingUnderLoadLosesNothing and leaves no connection behind.
func TestScalingUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	apps := []*stayingApp{startStayingApp(t, "http", "a"), startStayingApp(t, "h2c", "b"), startStayingApp(t, "http", "c")}
	e.deploy(requestFor("app", appsOf(apps[0])...))
	stop := e.hammer(6, "h", "/")
	for i := range 40 {
		req := requestFor("app", appsOf(apps[:1+i%3]...)...)
		if i%7 == 6 {
			req.TargetTimeout = testkit.Milliseconds(10_000)
		}
		req.Force = i%2 == 0
		e.deploy(req)
	}
	stop()
	last := e.release("app")
	if _, err := e.Remove("app", api.RemoveRequest{}); err != nil {
		t.Fatal(err)
	}
	wantNoConnections(t, last)
	for _, a := range apps {
		testkit.WaitFor(t, "the end of all connections", func() bool { return a.open.Load() == 0 })
	}
}
