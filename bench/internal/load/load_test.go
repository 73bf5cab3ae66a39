package load

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/bench/internal/upstream"
	"github.com/parachute-proxy/parachute/bench/internal/wire"
)

// startUpstream returns the address of an upstream.
func startUpstream(t *testing.T) Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go upstream.Serve(l)
	return Server{Addr: l.Addr().String()}
}

// load is what all loads have.
type load interface {
	Requests() int64
	Stop() Result
}

// runUntil stops a load when it has done something.
func runUntil(t *testing.T, l load, done func() bool) Result {
	t.Helper()
	for deadline := time.Now().Add(timeout); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing happens")
		}
	}
	return l.Stop()
}

func TestClosedLoop(t *testing.T) {
	server := startUpstream(t)
	for name, request := range map[string]Request{
		"small":  {Path: upstream.Small, WantLength: upstream.SmallSize},
		"medium": {Path: upstream.Medium, WantLength: upstream.MediumSize},
		"large":  {Path: upstream.Large, WantLength: upstream.LargeSize},
		"upload": {Method: "POST", Path: upstream.Upload, Body: 100_000, WantLength: int64(len("100000"))},
		"close":  {Path: upstream.Small, WantLength: upstream.SmallSize, Close: true},
	} {
		l := StartClosed(server, 4, request)
		result := runUntil(t, l, func() bool { return l.Requests() >= 20 })
		if result.Errors != 0 || result.Requests < 20 {
			t.Errorf("%s: %+v", name, result)
		}
	}
}

// A load that goes round several requests makes all of them.
func TestClosedLoopTakesTurns(t *testing.T) {
	l := StartClosed(startUpstream(t), 1,
		Request{Path: upstream.Small, WantLength: upstream.SmallSize},
		Request{Path: upstream.Medium, WantLength: upstream.SmallSize})
	result := runUntil(t, l, func() bool { return l.errors.Load() >= 3 })
	if result.Requests < 3 {
		t.Errorf("%+v; every other request should have failed", result)
	}
}

func TestWrongAnswersAreErrors(t *testing.T) {
	server := startUpstream(t)
	for want, request := range map[string]Request{
		"status was 404":                 {Path: "/nothing", WantLength: 9},
		"had 13 bytes instead of 12":     {Path: upstream.Small, WantLength: 12},
		"had 10240 bytes instead of 1":   {Path: upstream.Medium, WantLength: 1},
		"had 6 bytes instead of 1048576": {Method: "POST", Path: upstream.Upload, Body: 123456, WantLength: upstream.LargeSize},
	} {
		l := StartClosed(server, 2, request)
		result := runUntil(t, l, func() bool { return l.errors.Load() >= 2 })
		if result.Requests != 0 || result.FirstError == nil || !strings.Contains(result.FirstError.Error(), want) {
			t.Errorf("%q: %+v", want, result)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := Server{Addr: l.Addr().String()}
	l.Close()
	closed := StartClosed(server, 2, Request{Path: upstream.Small, WantLength: upstream.SmallSize})
	if result := runUntil(t, closed, func() bool { return closed.errors.Load() >= 2 }); result.Requests != 0 {
		t.Errorf("%+v", result)
	}
	if _, err := OpenWebSockets(t.Context(), server, "a", upstream.WebSocket, 10); err == nil {
		t.Error("WebSockets to nobody")
	}
	if _, err := OpenIdle(t.Context(), server, 10, Request{Path: upstream.Small, WantLength: upstream.SmallSize}); err == nil {
		t.Error("connections to nobody")
	}
}

func TestOpenLoop(t *testing.T) {
	request := Request{Path: upstream.Small, WantLength: upstream.SmallSize}
	l, err := StartOpen(startUpstream(t), 4, 2000, request, 1)
	if err != nil {
		t.Fatal(err)
	}
	result := runUntil(t, l, func() bool { return l.Requests() >= 100 })
	if result.Errors != 0 || int64(len(l.Latencies())) != result.Requests {
		t.Errorf("%+v with %d latencies", result, len(l.Latencies()))
	}
}

// An upstream that stalls delays the requests that become due in the meantime, and
// their latencies have to show it.
func TestOpenLoopCountsTheWait(t *testing.T) {
	const stall = 100 * time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		r := wire.NewReader(conn, 1<<10)
		for i := 0; ; i++ {
			if _, err := r.Head(); err != nil {
				return
			}
			if i == 0 {
				time.Sleep(stall)
			}
			if _, err := conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")); err != nil {
				return
			}
		}
	}()
	open, err := StartOpen(Server{Addr: l.Addr().String()}, 1, 1000, Request{Path: "/"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	runUntil(t, open, func() bool { return open.Requests() >= 50 })
	late := 0
	for _, latency := range open.Latencies() {
		if latency > stall/4 {
			late++
		}
	}
	// A closed loop would have found one.
	if late < 20 {
		t.Errorf("%d of %d requests were late", late, len(open.Latencies()))
	}
}

func TestWebSockets(t *testing.T) {
	ws, err := OpenWebSockets(t.Context(), startUpstream(t), "a", upstream.WebSocket, 50)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	if len(ws.open) != 50 {
		t.Errorf("%d are open", len(ws.open))
	}
	if err := ws.Check(); err != nil {
		t.Error(err)
	}
}

func TestIdleConnectionsAreOpenUntilTheyAreClosed(t *testing.T) {
	idle, err := OpenIdle(t.Context(), startUpstream(t), 50, Request{Path: upstream.Small, WantLength: upstream.SmallSize})
	if err != nil {
		t.Fatal(err)
	}
	if len(idle.open) != 50 {
		t.Errorf("%d are open", len(idle.open))
	}
	if err := idle.Check(); err != nil {
		t.Error(err)
	}
	idle.Close()
	if err := idle.Check(); err == nil {
		t.Error("closed connections are answered")
	}
}
