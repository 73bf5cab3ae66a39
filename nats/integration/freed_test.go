package integration

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig/rigtest"
)

// rawTarget is a target that counts every byte that it gets, in requests, probes or otherwise.
type rawTarget struct {
	net.Listener
	bytes, requests, conns atomic.Int64
	// late is what has come since the target was freed.
	freed atomic.Bool
	late  atomic.Int64
}

func startRawTarget(t *testing.T) *rawTarget {
	r := new(rawTarget)
	r.Listener = rigtest.Listen(t, r.serve)
	return r
}

// serve answers requests without a body until the connection ends.
func (r *rawTarget) serve(c net.Conn) {
	defer c.Close()
	if r.conns.Add(1); r.freed.Load() {
		r.late.Add(1) // a connection counts as a byte
	}
	requests := bufio.NewReader(io.TeeReader(c, r))
	for {
		req, err := http.ReadRequest(requests)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		r.requests.Add(1)
		if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
			return
		}
	}
}

// Write counts what was read from a connection.
func (r *rawTarget) Write(b []byte) (int, error) {
	r.bytes.Add(int64(len(b)))
	if r.freed.Load() {
		r.late.Add(int64(len(b)))
	}
	return len(b), nil
}

// Once a deploy has said by exit code 0 that all proxies have drained, the target that it has freed gets not one
// byte and no connection from any of them, while requests come to all on connections that are kept.
func TestFreedTargetGetsNotOneByte(t *testing.T) {
	proxies := newFleet(t)
	for _, p := range proxies {
		must(t, p.Start())
	}
	awaitLive(t, proxies[0], 3)
	targets := []*rawTarget{startRawTarget(t)}
	if r := run(t, proxies[0], "deploy", targets[0].Addr().String(), "--service", "web", "--health-check-interval", "100ms"); r.Code != 0 {
		t.Fatal(r.Stderr)
	}
	var loads []*load
	for _, p := range proxies {
		for range 4 {
			loads = append(loads, startLoad(p, true))
		}
	}
	for i := range 8 {
		old, next := targets[i], startRawTarget(t)
		waitFor(t, "requests come by every proxy", func() bool { return old.requests.Load() > 200 })
		r := run(t, proxies[i%3], "deploy", next.Addr().String(), "--service", "web", "--health-check-interval", "100ms")
		old.freed.Store(true)
		if r.Code != 0 {
			t.Fatal(r.Stderr)
		}
		targets = append(targets, next)
	}
	last := targets[len(targets)-1]
	before := last.requests.Load()
	waitFor(t, "more requests", func() bool { return last.requests.Load() > before+300 })
	for i, l := range loads {
		l.end(t, fmt.Sprintf("proxy-%d", i/4+1))
	}
	for i, target := range targets[:len(targets)-1] {
		if n := target.late.Load(); n > 0 {
			t.Errorf("target %d got %d bytes and connections after it was freed, of %d bytes", i, n, target.bytes.Load())
		}
	}
}
