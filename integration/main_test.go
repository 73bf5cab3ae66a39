// Package integration holds the black-box tests: they start the real binary and
// talk to it over real sockets, as users and operators do.
package integration

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
	"github.com/parachute-proxy/parachute/internal/api"
)

func TestMain(m *testing.M) { rigtest.Main(m) }

const patience = rigtest.Patience

var (
	must     = rigtest.Must
	waitFor  = rigtest.WaitFor
	duration = rigtest.Duration
	newProxy = rigtest.NewProxy
	run      = rigtest.Run
	wantRun  = rigtest.WantRun
)

// arrive waits for a signal from another goroutine.
func arrive[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	return rigtest.Arrive(t, what, ch)
}

// startProxy returns a proxy that answers.
func startProxy(t testing.TB, args ...string) *rig.Proxy {
	t.Helper()
	p := newProxy(t, args...)
	must(t, p.Start())
	return p
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// app is a web application inside the test.
type app struct {
	*httptest.Server
	name string
	// requests counts what it was sent, health checks not included.
	requests atomic.Int64
	unready  atomic.Bool
}

// startApp starts an application that answers its name, or what handler does.
func startApp(t testing.TB, name string, handler http.HandlerFunc) *app {
	t.Helper()
	a := &app{name: name}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Instance", name)
		switch {
		case r.URL.Path == "/up" && a.unready.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path == "/up":
		case handler != nil:
			a.requests.Add(1)
			handler(w, r)
		default:
			a.requests.Add(1)
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, name)
		}
	}))
	t.Cleanup(func() {
		a.CloseClientConnections()
		a.Server.Close()
	})
	return a
}

func (a *app) addr() string { return a.Listener.Addr().String() }

// startExample starts the sample application, which knows WebSockets and event
// streams.
func startExample(t *testing.T, name string) *rig.Example {
	t.Helper()
	example, err := rig.StartExample(name, "1")
	must(t, err)
	t.Cleanup(example.Stop)
	return example
}

// openWebSocket opens a WebSocket to the sample application and reads its greeting.
func openWebSocket(t *testing.T, p *rig.Proxy, host string) *rig.WebSocket {
	t.Helper()
	ws, err := rig.DialWebSocket(p.Addr(), host, "/ws")
	must(t, err)
	t.Cleanup(ws.Close)
	_, err = ws.Receive()
	must(t, err)
	return ws
}

// deploy deploys over the API and fails the test if that fails.
func deploy(t *testing.T, p *rig.Proxy, req api.DeployRequest) api.DeploymentStatus {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	status, err := p.Deploy(ctx, req)
	must(t, err)
	return status
}

// to is the shortest deploy request.
func to(a *app) api.DeployRequest { return api.DeployRequest{Targets: []string{a.addr()}} }

// get makes a request with a Host of its own and returns the answer.
func get(t *testing.T, p *rig.Proxy, host, path string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, p.URL()+path, nil)
	must(t, err)
	if host != "" {
		req.Host = host
	}
	resp, err := (&http.Client{Timeout: patience}).Do(req)
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp, string(body)
}

// dial opens a connection to the proxy.
func dial(t *testing.T, p *rig.Proxy) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	must(t, err)
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	t.Cleanup(func() { conn.Close() })
	return conn
}

func itoa(n int) string { return strconv.Itoa(n) }

func getURL(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	return ask(t, &http.Client{Timeout: patience}, url)
}
