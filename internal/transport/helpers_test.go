package transport

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/testkit"
)

// testTimeout bounds every wait of a test. Nothing is expected to take that long.
const testTimeout = 30 * time.Second

// ok is a whole answer.
const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// receive returns the next value of ch.
func receive[T any](t testing.TB, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(testTimeout):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// onEachNetwork runs a test for TCP and for Unix sockets.
func onEachNetwork(t *testing.T, test func(t *testing.T, g *target)) {
	t.Parallel()
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			test(t, startTarget(t, network))
		})
	}
}

// target is an address whose connections a test speaks for.
type target struct {
	t        testing.TB
	network  string
	address  string
	accepted chan *peer
	// narrow says that connections have small buffers, so that it shows when the
	// target does not read.
	narrow atomic.Bool
	// tune, if not nil, prepares a new connection of the transport's.
	tune func(net.Conn) net.Conn
}

func startTarget(t testing.TB, network string) *target {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		// The directories of tests have names too long for a socket.
		dir, err := os.MkdirTemp("", "app")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		address = filepath.Join(dir, "s")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	g := &target{t: t, network: network, address: l.Addr().String(), accepted: make(chan *peer, 1000)}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			_ = conn.SetDeadline(time.Now().Add(testTimeout))
			if g.narrow.Load() {
				_ = conn.(buffered).SetReadBuffer(smallBuffer)
			}
			g.accepted <- &peer{Conn: conn, t: t, r: bufio.NewReader(conn)}
		}
	}()
	return g
}

// transport returns a transport to g, whose options the caller may still change.
func (g *target) transport() *Transport {
	tr := &Transport{IdleTimeout: time.Minute, Dial: func(context.Context) (net.Conn, error) {
		// Not the context of the request, so that a test can tell who asks for it.
		nc, err := net.Dial(g.network, g.address)
		if err == nil && g.narrow.Load() {
			_ = nc.(buffered).SetWriteBuffer(smallBuffer)
		}
		if err == nil && g.tune != nil {
			nc = g.tune(nc)
		}
		return nc, err
	}}
	g.t.Cleanup(tr.Close)
	return tr
}

const smallBuffer = 64 << 10

// buffered is a connection whose buffers can be made smaller.
type buffered interface {
	SetReadBuffer(int) error
	SetWriteBuffer(int) error
}

// accept returns the next connection.
func (g *target) accept() *peer {
	g.t.Helper()
	return receive(g.t, g.accepted, "a connection")
}

// serve answers every request with what answer returns, which is "" to hang up.
func (g *target) serve(answer func(n int, req *http.Request) string) {
	go func() {
		for n := 0; ; n++ {
			select {
			case p := <-g.accepted:
				go func() {
					defer p.Close()
					for {
						req, err := http.ReadRequest(p.r)
						if err != nil {
							return
						}
						_, _ = io.Copy(io.Discard, req.Body)
						s := answer(n, req)
						if _, err := io.WriteString(p, s); s == "" || err != nil {
							return
						}
					}
				}()
			case <-g.t.Context().Done():
				return
			}
		}
	}()
}

// peer is the target's end of a connection.
type peer struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

// request reads a request and its body.
func (p *peer) request() (*http.Request, string) {
	p.t.Helper()
	req, err := http.ReadRequest(p.r)
	if err != nil {
		p.t.Fatalf("reading the request: %v", err)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		p.t.Fatalf("reading the request body: %v", err)
	}
	return req, string(body)
}

// head reads as far as the blank line.
func (p *peer) head() string {
	p.t.Helper()
	var head strings.Builder
	for !strings.HasSuffix(head.String(), "\r\n\r\n") {
		line, err := p.r.ReadString('\n')
		if err != nil {
			p.t.Fatalf("reading the head: %v", err)
		}
		head.WriteString(line)
	}
	return head.String()
}

func (p *peer) send(s string) {
	p.t.Helper()
	if _, err := io.WriteString(p, s); err != nil {
		p.t.Fatalf("sending: %v", err)
	}
}

// answer reads a request and sends s.
func (p *peer) answer(s string) {
	p.t.Helper()
	p.request()
	p.send(s)
}

// reset ends the connection as a crash does.
func (p *peer) reset() {
	if tcp, ok := p.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = p.Close()
}

// rest returns what arrives until the transport closes the connection.
func (p *peer) rest() string {
	p.t.Helper()
	b, err := io.ReadAll(p.r)
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		p.t.Fatalf("the connection is still open; %q has arrived", b)
	}
	return string(b)
}

// wantClosed fails the test unless the transport closes the connection and sends
// nothing more.
func (p *peer) wantClosed() {
	p.t.Helper()
	if rest := p.rest(); rest != "" {
		p.t.Errorf("%q arrives on a connection that should be closed", rest)
	}
}

// outcome is how an exchange ended.
type outcome struct {
	resp *http.Response // nil after an error
	body string
	err  error // of the exchange or of the body
}

// do carries out an exchange to its end.
func do(tr *Transport, req *http.Request) outcome {
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return outcome{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return outcome{resp, string(body), err}
}

// start begins an exchange.
func start(tr *Transport, req *http.Request) <-chan outcome {
	done := make(chan outcome, 1)
	go func() { done <- do(tr, req) }()
	return done
}

// wantOK fails the test unless the answer has the status 200 and the body.
func (o outcome) wantOK(t testing.TB, body string) {
	t.Helper()
	if o.err != nil || o.resp.StatusCode != http.StatusOK || o.body != body {
		t.Fatalf("answered with %+v, want 200 %q", o, body)
	}
}

func request(t testing.TB, method string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://app.test/x", body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func get(t testing.TB) *http.Request {
	t.Helper()
	return request(t, http.MethodGet, nil)
}

func post(t testing.TB, body io.Reader) *http.Request {
	t.Helper()
	return request(t, http.MethodPost, body)
}

// wantStats fails the test unless so many connections are open and idle.
func wantStats(t testing.TB, tr *Transport, open, idle int) {
	t.Helper()
	if got := tr.Stats(); got != (Stats{Open: open, Idle: idle}) {
		t.Errorf("%+v, want %d open and %d idle", got, open, idle)
	}
}

// idle returns the idle connections, the one that is used next last.
func (p *pool) snapshot() []*conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*conn(nil), p.idle...)
}

// awaitArrival returns when something has arrived on the idle connection that is
// used next, be it an end.
func awaitArrival(t testing.TB, tr *Transport) {
	t.Helper()
	idle := tr.pool.snapshot()
	if len(idle) == 0 {
		t.Fatal("no connection is idle")
	}
	testkit.WaitFor(t, "something to arrive", func() bool { return !idle[len(idle)-1].socket.quiet() })
}

// watchedContext tells when someone begins to watch it.
type watchedContext struct {
	context.Context
	watched chan struct{}
}

func newWatchedContext(t testing.TB) (*watchedContext, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(t.Context())
	return &watchedContext{ctx, make(chan struct{}, 100)}, cancel
}

func (c *watchedContext) Done() <-chan struct{} {
	select {
	case c.watched <- struct{}{}:
	default:
	}
	return c.Context.Done()
}

var errGone = errors.New("the client went away")
