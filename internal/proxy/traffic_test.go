package proxy

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// requestsOf returns how many requests of a service were counted, by method and class.
func (e *testEngine) requestsOf(service string) map[string]int64 {
	e.t.Helper()
	counts := make(map[string]int64)
	e.trafficOf(service).Requests(func(method, class string, n int64) {
		if n > 0 {
			counts[method+" "+class] = n
		}
	})
	return counts
}

func (e *testEngine) trafficOf(service string) *forward.Traffic {
	e.t.Helper()
	traffic := e.Traffic()[service]
	if traffic == nil {
		e.t.Fatalf("nothing is counted of %s", service)
	}
	return traffic
}

// wantCounts fails the test unless exactly the given requests of a service were counted.
func (e *testEngine) wantCounts(service string, want map[string]int64) {
	e.t.Helper()
	e.settle()
	if got := e.requestsOf(service); fmt.Sprint(got) != fmt.Sprint(want) {
		e.t.Errorf("counted of %s: %v, want %v", service, got, want)
	}
}

func startAnswering(t *testing.T) *testkit.App {
	return testkit.StartHandler(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch r.URL.Path {
		case "/missing":
			w.WriteHeader(http.StatusNotFound)
		case "/broken":
			w.WriteHeader(http.StatusInternalServerError)
		default:
			_, _ = io.WriteString(w, "hello")
		}
	})
}

// A release is short-lived; whoever watches a service wants to know how it does over all of
// them. A service that is gone must not be shown for ever.
func TestRequestsAreCountedForAsLongAsThereIsTheService(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	req := requestFor("app", startAnswering(t))
	req.Hosts = []string{"app.test"}
	e.deploy(req)
	e.get("app.test", "/")
	e.get("app.test", "/missing")
	e.get("nobody.test", "/")
	e.do(e.request(http.MethodPost, "app.test", "/", strings.NewReader("12345678")))
	next := requestFor("app", startAnswering(t))
	next.Hosts = req.Hosts
	e.deploy(next)
	e.get("app.test", "/broken")
	e.do(e.request("BREW", "app.test", "/", nil))
	e.wantCounts("app", map[string]int64{"GET 2xx": 1, "GET 4xx": 1, "GET 5xx": 1, "POST 2xx": 1, "OTHER 2xx": 1})
	traffic := e.trafficOf("app")
	if traffic.Received() != 8 || traffic.Sent() != 15 {
		t.Errorf("counted %d bytes of requests and %d of answers, want 8 and 15", traffic.Received(), traffic.Sent())
	}
	if n, sum, _ := traffic.Durations(); n != 5 || sum <= 0 || sum > testkit.Timeout.Seconds() {
		t.Errorf("%d requests took %v s in all", n, sum)
	}
	if _, err := e.Remove("app", api.RemoveRequest{}); err != nil {
		t.Fatal(err)
	}
	if e.Traffic()["app"] != nil {
		t.Error("the service that was removed is still counted")
	}
	e.deploy(req)
	e.wantCounts("app", map[string]int64{})
}

func TestAnswersOfTheProxyAreCounted(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.deployRaw(func(r *api.DeployRequest) { r.HoldTimeout = testkit.Milliseconds(0) }, testkit.RefusedAddress)
	e.get("app.test", "/")
	e.wantCounts("app", map[string]int64{"GET 5xx": 1})

	req := requestFor("moved", startAnswering(t))
	req.Hosts, req.CanonicalHost = []string{"a.test", "b.test"}, "b.test"
	e.deploy(req)
	e.get("a.test", "/")
	e.wantCounts("moved", map[string]int64{"GET 3xx": 1})
}

func TestHeldRequestsAreCountedWhileTheyAreHeld(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	path := testkit.SocketPath(t)
	e.deployRaw(func(r *api.DeployRequest) { r.HoldTimeout = testkit.Milliseconds(int(testkit.Timeout.Milliseconds())) }, "unix/"+path)
	answer := make(chan int, 1)
	go func() {
		status, _ := e.get("h", "/")
		answer <- status
	}()
	traffic, deadline := e.trafficOf("app"), time.Now().Add(testkit.Timeout)
	for traffic.Held() != 1 || traffic.Retries() == 0 {
		if time.Now().After(deadline) {
			t.Fatalf("%d requests are held, %d were repeated", traffic.Held(), traffic.Retries())
		}
		runtime.Gosched()
	}
	testkit.NewApp("back").Start(t, testkit.Listen(t, "unix", path))
	if status := testkit.Receive(t, answer, "the answer"); status != http.StatusOK {
		t.Errorf("it is answered with %d", status)
	}
	e.settle()
	if n := traffic.Held(); n != 0 {
		t.Errorf("%d requests are held when all have been answered", n)
	}
}

// A WebSocket that has been open for a week is a request that was answered a week ago.
func TestStreamsAreCountedWhenTheyBegin(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	a, _ := startWebSocketApp(t)
	e.deploy(requestFor("app", a))
	conn, r := e.upgrade("/", "websocket")
	echo(t, conn, r, "hello")
	if got := fmt.Sprint(e.requestsOf("app")); got != "map[GET 1xx:1]" {
		t.Errorf("counted %s of a WebSocket that is open", got)
	}
	want := int64(len(testkit.Frame(testkit.TextOpcode, []byte("hello"))))
	traffic, deadline := e.trafficOf("app"), time.Now().Add(testkit.Timeout)
	for traffic.Sent() != want || traffic.Received() != want+4 { // the client's frame has a key
		if time.Now().After(deadline) {
			t.Fatalf("counted %d bytes of the client and %d of the target, want %d and %d", traffic.Received(), traffic.Sent(), want+4, want)
		}
		runtime.Gosched()
	}
}
