package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// pause pauses a service, and stop stops it.
func (e *testEngine) pause(req api.HoldRequest) api.HoldResult {
	e.t.Helper()
	return e.holdAs(api.Paused, req)
}

func (e *testEngine) holdAs(mode api.HoldMode, req api.HoldRequest) api.HoldResult {
	e.t.Helper()
	result, err := e.Hold(e.t.Context(), "app", mode, req)
	if err != nil {
		e.t.Fatal(err)
	}
	return result
}

func (e *testEngine) resume() {
	e.t.Helper()
	if result, err := e.Resume("app", ""); err != nil || result.Hold != nil {
		e.t.Fatalf("%+v, %v", result, err)
	}
}

// waiting waits until so many requests wait for the service.
func (e *testEngine) waiting(n int) {
	e.t.Helper()
	testkit.WaitFor(e.t, fmt.Sprint(n, " held requests"), func() bool {
		s, err := e.Service("app")
		return err == nil && s.Hold != nil && s.Hold.Waiting == n
	})
}

// Requests wait, and go to the release that serves when the service is resumed.
func TestRequestsOfAPausedServiceWaitForItsNextRelease(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.deploy(requestFor("app", testkit.StartApp(t, "old")))
	if result := e.pause(api.HoldRequest{}); result.Hold == nil || result.Hold.Mode != api.Paused || result.Requests != 0 {
		t.Errorf("result %+v", result)
	}
	const n = 300
	answers := make(chan string, n)
	for i := range n {
		go func() {
			var body io.Reader
			method := http.MethodGet
			if i%2 == 1 {
				method, body = http.MethodPost, strings.NewReader("some")
			}
			status, text := e.do(e.request(method, "h", "/", body))
			answers <- fmt.Sprint(status, " ", text)
		}()
	}
	e.waiting(n)
	e.deploy(requestFor("app", testkit.StartApp(t, "new")))
	if s, _ := e.Service("app"); s.Hold == nil || s.Hold.Waiting != n || s.Active.Requests != 0 {
		t.Errorf("after a deploy: hold %+v, %d requests on the release", s.Hold, s.Active.Requests)
	}
	e.resume()
	for range n {
		if got := testkit.Receive(t, answers, "an answer"); got != "200 new" {
			t.Fatalf("a held request is answered with %q", got)
		}
	}
	e.resume() // which is no error
	e.settle()
	e.checkConsistent()
}

func TestPauseIsBounded(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.deploy(requestFor("app", testkit.StartApp(t, "app")))
	e.pause(api.HoldRequest{MaxWait: testkit.Milliseconds(50)})
	if status, _ := e.get("h", "/"); status != http.StatusGatewayTimeout {
		t.Errorf("a request that waited for too long is answered with %d", status)
	}
	one := 1
	e.pause(api.HoldRequest{Queue: &one})
	first := make(chan int, 1)
	go func() {
		status, _ := e.get("h", "/")
		first <- status
	}()
	e.waiting(1)
	if status, _ := e.get("h", "/"); status != http.StatusServiceUnavailable {
		t.Errorf("a request that found the queue full is answered with %d", status)
	}
	// New limits are for those that come; who waits goes on to wait.
	none := 0
	e.pause(api.HoldRequest{Queue: &none})
	e.waiting(1)
	e.resume()
	if status := testkit.Receive(t, first, "the answer"); status != http.StatusOK {
		t.Errorf("the request that waited is answered with %d", status)
	}
}

// A client that goes away while its request waits makes room for others.
func TestHeldRequestsOfClientsThatAreGoneLeaveTheQueue(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.deploy(requestFor("app", testkit.StartApp(t, "app")))
	e.pause(api.HoldRequest{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { _, _ = e.do(e.request(http.MethodGet, "h", "/", nil).WithContext(ctx)) }()
	e.waiting(1)
	cancel()
	e.waiting(0)
}

// However many have waited, each is served soon after the resume.
func TestTheReleaseOfHeldRequestsIsSpreadAndBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// longest returns how long the last of many requests waits after a resume.
		longest := func(waiting int64, with func(*visitor)) (longest time.Duration) {
			for range 200 {
				v := &visitor{in: httptest.NewRequest(http.MethodGet, "/", nil), waitedFor: newHold(api.Hold{}, nil)}
				v.waitedFor.waiting.Store(waiting)
				with(v)
				began := time.Now()
				v.spread()
				longest = max(longest, time.Since(began))
				v.spread() // waits once
			}
			return longest
		}
		over := make(chan struct{})
		close(over)
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		for name, c := range map[string]struct {
			waiting     int64
			with        func(*visitor)
			least, most time.Duration
		}{
			"a few":              {99, func(*visitor) {}, 50 * time.Millisecond, 100 * time.Millisecond},
			"very many":          {1_000_000, func(*visitor) {}, 2 * time.Second, 5 * time.Second},
			"the engine stops":   {1_000_000, func(v *visitor) { v.stopping = over }, 0, 0},
			"the client is gone": {1_000_000, func(v *visitor) { v.client.Connection = goneConnection{} }, 0, 0},
			"the context ends":   {1_000_000, func(v *visitor) { v.in = v.in.WithContext(cancelled) }, 0, 0},
		} {
			if got := longest(c.waiting, c.with); got < c.least || got > c.most {
				t.Errorf("%s: the last of them waits %v, want %v to %v", name, got, c.least, c.most)
			}
		}
	})
}

// goneConnection is a connection whose client has gone.
type goneConnection struct{}

func (goneConnection) OnGone(gone func()) (stop func()) {
	gone()
	return func() {}
}

func TestStoppedServiceSaysWhatTheOperatorSays(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a := testkit.StartApp(t, "app")
	e.deploy(requestFor("app", a))
	waited := make(chan int, 1)
	e.pause(api.HoldRequest{})
	go func() {
		status, _ := e.get("h", "/")
		waited <- status
	}()
	e.waiting(1)
	e.holdAs(api.Stopped, api.HoldRequest{Message: "back at noon", Status: 599})
	if status := testkit.Receive(t, waited, "the answer"); status != 599 {
		t.Errorf("a request that waited is answered with %d", status)
	}
	status, _ := e.get("h", "/any")
	if status != 599 {
		t.Errorf("a request is answered with %d", status)
	}
	// Load balancers in front go on to send requests here.
	if status, body := e.get("h", "/up"); status != http.StatusOK || !strings.Contains(body, "proxy is well") {
		t.Errorf("the health path answers %d %q", status, body)
	}
	if status, _ := e.do(e.request(http.MethodPost, "h", "/up", nil)); status != 599 {
		t.Errorf("a POST to the health path is answered with %d", status)
	}
	// Who proves that a host is ours is let through, and whom the operator lets.
	if status, _ := e.get("h", acmeChallenges+"token"); status != http.StatusOK {
		t.Errorf("a challenge is answered with %d", status)
	}
	e.holdAs(api.Stopped, api.HoldRequest{Allow: []string{"127.0.0.0/8"}})
	e.wantAnswer("h", "/", "app")
	e.holdAs(api.Stopped, api.HoldRequest{Allow: []string{"10.0.0.0/8", "::1"}})
	if status, _ := e.get("h", "/"); status != http.StatusServiceUnavailable {
		t.Errorf("a client that is not let through is answered with %d", status)
	}
	for forwarded, want := range map[string]int{"10.1.2.3": 200, "127.0.0.1, 10.1.2.3": 200, "10.1.2.3, 127.0.0.1": 503, "": 503, "::1": 200} {
		req := e.request(http.MethodGet, "h", "/", nil)
		req.Header.Set("X-Test-Trusted", "yes")
		if forwarded != "" {
			req.Header.Set("X-Forwarded-For", forwarded)
		}
		if status, _ := e.do(req); status != want {
			t.Errorf("a client behind a trusted proxy, %q, is answered with %d, want %d", forwarded, status, want)
		}
	}
}

// Pause returns when the application is quiet: that is what it is for.
func TestPauseWaitsForWhatIsInFlight(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a := testkit.StartApp(t, "app")
	e.deploy(requestFor("app", a))
	answer := make(chan string, 1)
	go func() {
		_, body := e.get("h", "/slow")
		answer <- body
	}()
	testkit.Receive(t, a.Arrived, "the slow request")
	if result := e.pause(api.HoldRequest{DrainTimeout: testkit.Milliseconds(20)}); result.Requests != 1 {
		t.Errorf("result %+v, want one request in flight", result)
	}
	done := make(chan api.HoldResult, 1)
	go func() { done <- e.pause(api.HoldRequest{}) }()
	close(a.Finish)
	if result := testkit.Receive(t, done, "the end of the pause call"); result.Requests != 0 {
		t.Errorf("result %+v, want none", result)
	}
	if got := testkit.Receive(t, answer, "the slow answer"); got != "app" {
		t.Errorf("the slow request, which was not cut, is answered with %q", got)
	}
}

func TestHoldSurvivesRestartsAndDeploysAndGoesWithTheService(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	req := requestFor("app", testkit.StartApp(t, "app"))
	e.deploy(req)
	e.holdAs(api.Stopped, api.HoldRequest{Message: "moving"})
	again := loaded(t, e.store)
	if status, _ := again.get("h", "/"); status != http.StatusServiceUnavailable {
		t.Errorf("after a restart it answers %d", status)
	}
	if s, _ := again.Service("app"); s.Hold == nil || s.Hold.Message != "moving" {
		t.Errorf("after a restart the hold is %+v", s.Hold)
	}
	// Also with other routes, which makes it another entry of the table.
	req.Hosts = []string{"h"}
	again.deploy(req)
	if status, _ := again.get("h", "/"); status != http.StatusServiceUnavailable {
		t.Errorf("after a deploy it answers %d", status)
	}
	third := loaded(t, again.store)
	third.resume()
	third.wantAnswer("h", "/", "app")
	third.checkConsistent()
	if doc := string(third.store.dump()["app"][0]); !strings.Contains(doc, `"format": 1`) {
		t.Errorf("a service that is not held is stored as %s", doc)
	}
	// Who removes it forgets the hold.
	third.holdAs(api.Stopped, api.HoldRequest{})
	if _, err := third.Remove("app", api.RemoveRequest{}); err != nil {
		t.Fatal(err)
	}
	third.deploy(req)
	third.wantAnswer("h", "/", "app")
}

// Whoever waits for a service that goes, or loses the route, is not left waiting.
func TestHeldRequestsFollowTheirRoute(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(e *testEngine, a *testkit.App){
		"removed": func(e *testEngine, _ *testkit.App) { _, _ = e.Engine.Remove("app", api.RemoveRequest{}) },
		"moved":   func(e *testEngine, a *testkit.App) { e.deploy(takeoverOf("other", a, "h")) },
		"given up": func(e *testEngine, a *testkit.App) {
			req := requestFor("app", a)
			req.Hosts = []string{"i"}
			e.deploy(req)
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newTestEngine(t)
			a := testkit.StartApp(t, "app")
			req := requestFor("app", a)
			req.Hosts = []string{"h", "i"}
			e.deploy(req)
			e.pause(api.HoldRequest{})
			answer := make(chan int, 1)
			go func() {
				status, _ := e.get("h", "/")
				answer <- status
			}()
			e.waiting(1)
			change(e, a)
			want := http.StatusNotFound
			if name == "moved" {
				want = http.StatusOK
			}
			if got := testkit.Receive(t, answer, "the answer"); got != want {
				t.Errorf("the request that waited is answered with %d, want %d", got, want)
			}
		})
	}
}

func TestHoldThatCannotBeStoredHoldsNothing(t *testing.T) {
	t.Parallel()
	store := &faultyStore{memoryStore: newMemoryStore()}
	e := newTestEngine(t, withStore(store))
	e.deploy(requestFor("app", testkit.StartApp(t, "app")))
	store.onSave = func(string) error { return errDiskFull }
	_, err := e.Hold(t.Context(), "app", api.Paused, api.HoldRequest{})
	wantCode(t, err, api.CodeStorage)
	e.wantAnswer("h", "/", "app")
	_, err = e.Hold(t.Context(), "none", api.Paused, api.HoldRequest{})
	wantCode(t, err, api.CodeNotFound)
}

// TestPausesUnderLoadLoseNothing pauses, deploys and resumes under requests.
func TestPausesUnderLoadLoseNothing(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	apps := []*testkit.App{testkit.StartApp(t, "a"), testkit.StartApp(t, "b")}
	e.deploy(requestFor("app", apps[0]))
	stop := e.hammer(8, "h", "/")
	var all sync.WaitGroup
	all.Go(func() {
		for range 30 {
			e.pause(api.HoldRequest{})
			e.resume()
		}
	})
	all.Go(func() {
		for i := range 30 {
			e.deploy(requestFor("app", apps[i%2]))
		}
	})
	all.Wait()
	stop()
	e.settle()
	e.checkConsistent()
	if got := e.releases("app"); !slices.IsSortedFunc(got, func(a, b int) int { return b - a }) {
		t.Errorf("releases %v", got)
	}
}

// A pause must not make the gate believe that the proxy itself is the application.
func TestAPausedServiceIsNotItsOwnTarget(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	req := requestFor("app", testkit.StartApp(t, "app"))
	req.Hosts = []string{"a.test"}
	e.deploy(req)
	e.pause(api.HoldRequest{})
	req.Targets, req.DeployTimeout = []string{strings.TrimPrefix(e.url, "http://")}, testkit.Milliseconds(300)
	_, err := wait(t, e.start(req))
	wantCode(t, err, api.CodeNotHealthy)
	e.resume()
	e.wantAnswer("a.test", "/", "app")
}

// An older release that drains works on the same database.
func TestPauseWaitsForReleasesThatDrain(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	old := testkit.StartApp(t, "old")
	e.deploy(requestFor("app", old))
	go e.get("h", "/slow")
	testkit.Receive(t, old.Arrived, "the slow request")
	d := e.start(requestFor("app", testkit.StartApp(t, "new")))
	await(t, d, api.EventSwitched, 1)
	if result := e.pause(api.HoldRequest{DrainTimeout: testkit.Milliseconds(20)}); result.Requests != 1 {
		t.Errorf("result %+v, want one request in flight", result)
	}
	close(old.Finish)
	if result := e.pause(api.HoldRequest{}); result.Requests != 0 {
		t.Errorf("result %+v, want none", result)
	}
	_, _ = wait(t, d)
}

// A service whose certificate files are gone can be stopped like any other.
func TestAServiceWithoutItsCertificateCanBeHeld(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	files := newPEMFiles(t, "a.test")
	req := requestFor("app", testkit.StartApp(t, "a"))
	req.Hosts, req.TLS = []string{"a.test"}, files.request()
	e.deploy(req)
	var doc map[string]any
	if err := json.Unmarshal(e.store.dump()["app"][0], &doc); err != nil {
		t.Fatal(err)
	}
	delete(doc, "key_pair")
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	e.store.put("app", b)
	if err := os.Remove(files.key); err != nil {
		t.Fatal(err)
	}
	if _, err := loaded(t, e.store).Hold(t.Context(), "app", api.Stopped, api.HoldRequest{}); err != nil {
		t.Error(err)
	}
}
