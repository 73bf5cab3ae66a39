package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// checkConsistent fails the test unless the table, the store and the status of an
// idle engine tell the same story, and nothing is held that nobody uses.
func (e *testEngine) checkConsistent() {
	e.t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	documents, table := e.store.dump(), e.table.Load()
	wantOwners := make(map[api.Route]owner)
	active := 0
	for name, svc := range e.services {
		l := svc.lineup()
		tried := l != nil && l.rollout != nil // its deployment waits
		if !tried && len(svc.deployments) > 0 || len(svc.draining)+int(svc.operations)+len(svc.committing) > 0 {
			e.t.Errorf("%s is not idle: %+v", name, svc)
		}
		if svc.active == nil {
			e.t.Errorf("the service %s does not exist, but has a record", name)
			continue
		}
		active++
		r := svc.active.release()
		if table.named[name] != svc.active || slices.ContainsFunc(l.releases(), func(r *release) bool { return r.Version > svc.lastVersion }) || r.InFlight() != 0 {
			e.t.Errorf("%s: v%d serves with %d requests, the last is v%d", name, r.Version, r.InFlight(), svc.lastVersion)
		}
		for _, of := range l.releases() {
			for _, route := range of.Spec.Routes {
				wantOwners[route] = owner{name, wantOwners[route].count + 1}
			}
		}
		for _, route := range r.Spec.Routes {
			if c, _ := table.lookup(cmp.Or(route.Host, "unclaimed.test"), route.Prefix); c != svc.active {
				e.t.Errorf("%s is not routed to %s", route, name)
			}
		}
		if len(documents[name]) == 0 {
			e.t.Errorf("%s has no document", name)
			continue
		}
		if doc, err := decodeDocument(name, documents[name][0]); err != nil || doc.Release != r.Version ||
			!slices.Equal(doc.active.Routes, r.Spec.Routes) || !slices.Equal(doc.Targets, r.Targets()) {
			e.t.Errorf("%s: v%d %s %s serves, v%d %s %s is stored, %v", name, r.Version, r.Spec.Routes, r.Targets(), doc.Release, doc.active.Routes, doc.Targets, err)
		}
		if doc, err := decodeDocument(name, documents[name][0]); err != nil || (doc.candidate == nil) != (l.candidate == nil) ||
			(doc.standby == nil) != (l.standby == nil) || (doc.Rollout == nil) != (l.rollout == nil) || (doc.Hold == nil) != (l.hold == nil) ||
			max(doc.Release, doc.LastRelease) < svc.lastVersion && doc.candidate == nil && doc.standby == nil {
			e.t.Errorf("%s is %+v, and stored is %s, %v", name, l, documents[name][0], err)
		}
		if status := e.statusOf(svc); status.Active == nil || status.Active.Release != r.Version || status.Broken != "" ||
			len(status.Draining) > 0 || !slices.Equal(status.Hosts, append([]string{}, r.Spec.Hosts...)) {
			e.t.Errorf("%s: v%d serves, the status is %+v", name, r.Version, status)
		}
	}
	if len(table.named) != active || len(documents) != active {
		e.t.Errorf("%d services, %d of them in the table and %d stored", active, len(table.named), len(documents))
	}
	got := make(map[api.Route]owner)
	for route, o := range e.owners {
		got[route] = *o
	}
	if len(got) != len(wantOwners) {
		e.t.Errorf("routes are owned by %v, want %v", got, wantOwners)
	}
	for route, want := range wantOwners {
		if got[route] != want {
			e.t.Errorf("%s is owned by %v, want %v", route, got[route], want)
		}
	}
}

// TestLifeCycleOfDeployments makes random deployments, cancellations and removals
// of a few services at a time and checks, whenever it is quiet, that everything
// fits together.
func TestLifeCycleOfDeployments(t *testing.T) {
	t.Parallel()
	rnd := testkit.NewRand(t)
	e := newTestEngine(t)
	good, sick := testkit.StartApp(t, "good"), testkit.StartApp(t, "sick")
	sick.Health.Store(http.StatusServiceUnavailable)
	hosts := []string{"a.example.com", "b.example.com", "*.example.com", "c.example.com"}
	last := make(map[string]int) // the newest release that was seen of each service
	var removed sync.Map         // a service that comes back begins anew

	operation := func(own *rand.Rand, slow *testkit.App) func() {
		service := fmt.Sprint("s", own.IntN(3))
		req := requestFor(service, good)
		for range own.IntN(3) {
			req.Hosts = append(req.Hosts, hosts[own.IntN(len(hosts))])
		}
		if own.IntN(2) == 0 {
			req.PathPrefixes = []string{"/" + service}
		}
		kind := own.IntN(6)
		return func() {
			switch kind {
			case 0:
				removed.Store(service, true)
				_, err := e.Remove(service, api.RemoveRequest{})
				if code := api.ErrorCode(err); err != nil && code != api.CodeNotFound {
					t.Errorf("removing: %v", err)
				}
				return
			case 1: // it never becomes healthy
				req.Targets = []string{sick.Target}
				req.DeployTimeout = testkit.Milliseconds(30)
			case 2, 3: // it does, after a while
				req.Targets = []string{slow.Target}
			}
			d, err := e.Deploy(req.Patch())
			if err != nil {
				if api.ErrorCode(err) != api.CodeRouteConflict {
					t.Errorf("deploying: %v", err)
				}
				return
			}
			if kind == 3 {
				await(t, d, api.EventAccepted, 1)
				d.Cancel()
			}
			status, err := wait(t, d)
			if status.State == api.StateDone && (err != nil || status.Release <= status.Previous) ||
				status.State != api.StateDone && (err == nil || status.Release != 0) {
				t.Errorf("kind %d: %+v, %v", kind, status, err)
			}
		}
	}
	for range 60 {
		slow := testkit.NewApp("slow")
		slow.Health.Store(http.StatusServiceUnavailable)
		slow.Start(t, testkit.Listen(t, "tcp", "127.0.0.1:0"))
		var all sync.WaitGroup
		for range 1 + rnd.IntN(5) {
			all.Go(operation(rand.New(rand.NewPCG(rnd.Uint64(), 0)), slow))
		}
		slow.Health.Store(http.StatusOK)
		all.Wait()
		e.operations.Wait()
		if e.checkConsistent(); t.Failed() {
			return
		}
		removed.Range(func(name, _ any) bool {
			delete(last, name.(string))
			return true
		})
		removed.Clear()
		for _, s := range e.Services() {
			if s.Active.Release < last[s.Name] {
				t.Errorf("%s goes back from v%d to v%d", s.Name, last[s.Name], s.Active.Release)
			}
			last[s.Name] = s.Active.Release
		}
	}
	t.Logf("deployments: %v", e.DeploymentCounts())
}

// TestReleasesAreNumberedInTheirOrder holds however deployments race.
func TestReleasesAreNumberedInTheirOrder(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a := testkit.StartApp(t, "app")
	var mu sync.Mutex
	seen := make(map[int]bool)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			status, err := wait(t, e.start(requestFor("app", a)))
			mu.Lock()
			defer mu.Unlock()
			if err == nil && (seen[status.Release] || status.Previous != status.Release-1) {
				t.Errorf("v%d follows v%d, or is there twice", status.Release, status.Previous)
			}
			if err == nil {
				seen[status.Release] = true
			}
		})
	}
	all.Wait()
	e.operations.Wait()
	e.checkConsistent()
	if n := len(seen); !seen[n] || seen[n+1] {
		t.Errorf("%d releases: %v, want every number up to that", n, seen)
	}
}

func TestRequestsAreRoutedByHostPathAndName(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	for _, name := range []string{"shop", "blog"} {
		req := requestFor(name, testkit.StartHandler(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintf(w, "%s %s", name, r.URL.Path)
		}))
		req.Hosts, req.PathPrefixes = []string{name + ".example.com", "all.example.com"}, []string{"/" + name}
		e.deploy(req)
	}
	e.wantAnswer("shop.example.com", "/shop/x", "shop /x")
	e.wantAnswer("ALL.example.com.:80", "/blog/x", "blog /x")
	if status, _ := e.get("shop.example.com", "/blog"); status != http.StatusNotFound {
		t.Errorf("a path that nobody claims: %d, want 404", status)
	}
	// A handler that names its service does not ask for the host.
	for path, want := range map[string]string{"/shop/x": "shop /x", "/other": "shop /other"} {
		req := e.request("GET", "whatever", path, nil)
		req.Header.Set("X-Test-Service", "shop")
		if status, body := e.do(req); status != http.StatusOK || body != want {
			t.Errorf("%s of the service shop: %d %q, want %q", path, status, body, want)
		}
	}
	req := e.request("GET", "shop.example.com", "/shop", nil)
	req.Header.Set("X-Test-Service", "nobody")
	if status, _ := e.do(req); status != http.StatusNotFound {
		t.Errorf("a service that does not exist: %d, want 404", status)
	}
}

// TestMisdirectedRequestsAreRefused keeps the page of one site from being served
// under the certificate of another.
func TestMisdirectedRequestsAreRefused(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	for _, name := range []string{"a", "b"} {
		req := requestFor(name, testkit.StartApp(t, name))
		req.Hosts = []string{name + ".example.com", "www." + name + ".example.com"}
		e.deploy(req)
	}
	for _, tt := range []struct {
		sni, host string
		want      int
	}{
		{"a.example.com", "a.example.com", http.StatusOK},
		{"a.example.com", "www.a.example.com", http.StatusOK}, // one service, one connection
		{"", "a.example.com", http.StatusOK},
		{"a.example.com", "b.example.com", http.StatusMisdirectedRequest},
		{"unknown.example.com", "b.example.com", http.StatusMisdirectedRequest},
		{"a.example.com", "unknown.example.com", http.StatusNotFound},
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
		r.Host, r.TLS = tt.host, &tls.ConnectionState{ServerName: tt.sni}
		if e.handle(w, r); w.Code != tt.want {
			t.Errorf("SNI %q, Host %q: %d, want %d", tt.sni, tt.host, w.Code, tt.want)
		}
	}
}

// TestUpstreamsCountTheRequest is about hosts that forward requests themselves: a
// drain waits for these as well.
func TestUpstreamsCountTheRequest(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	if _, err := e.Upstreams(t.Context(), "app"); err != ErrNoRoute {
		t.Errorf("without the service: %v, want %v", err, ErrNoRoute)
	}
	a, b := testkit.StartApp(t, "a"), testkit.StartApp(t, "b")
	req := requestFor("app", a, b)
	req.HealthCheckInterval = testkit.Milliseconds(60_000)
	e.deploy(req)
	ctx, cancel := context.WithCancel(t.Context())
	targets, err := e.Upstreams(ctx, "app")
	if err != nil || len(targets) != 2 {
		t.Fatalf("targets %v, %v, want 2", targets, err)
	}
	d := e.start(requestFor("app", testkit.StartApp(t, "new")))
	if ev := await(t, d, api.EventDraining, 1); ev.Requests != 1 {
		t.Errorf("event %+v, want one request", ev)
	}
	select {
	case <-d.ended:
		t.Error("the deploy does not wait for the request")
	default:
	}
	cancel()
	if _, err := wait(t, d); err != nil {
		t.Error(err)
	}
}
