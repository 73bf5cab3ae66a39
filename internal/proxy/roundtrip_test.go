package proxy

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// answerOK answers one request, whose body it reads.
func answerOK(conn net.Conn, r *bufio.Reader, text string) bool {
	req, err := http.ReadRequest(r)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, req.Body)
	_, err = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	return err == nil
}

// TestPostIsNeverDeliveredTwice resets connections after bytes went out.
func TestPostIsNeverDeliveredTwice(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{"small": "x", "none": "", "large": strings.Repeat("a", 1<<20)} {
		e := newTestEngine(t)
		var arrived atomic.Int64
		reset := func(_ int, conn net.Conn, r *bufio.Reader) {
			if line, _ := r.ReadString('\n'); strings.HasPrefix(line, "POST") {
				arrived.Add(1)
			}
			_ = conn.(*net.TCPConn).SetLinger(0)
		}
		e.deployRaw(nil, testkit.StartRawApp(t, reset), testkit.StartRawApp(t, reset))
		req := e.request("POST", "h", "/charge", strings.NewReader(body))
		if status, _ := e.do(req); status != http.StatusBadGateway {
			t.Errorf("%s: %d, want 502", name, status)
		}
		if n := arrived.Load(); n != 1 {
			t.Errorf("%s: arrived %d times, want once", name, n)
		}
	}
}

// TestIdempotencyKeyIsNoLeaveToRepeat on a pooled connection that breaks off: the
// transport below would take it for one. The app sees the key all the same.
func TestIdempotencyKeyIsNoLeaveToRepeat(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	var charges atomic.Int64
	var key atomic.Value
	app := testkit.StartRawApp(t, func(_ int, conn net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if req.Method == http.MethodPost {
				charges.Add(1)
				key.Store(req.Header.Get("Idempotency-Key"))
				return
			}
			fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	e.deployRaw(nil, app)
	e.wantAnswer("h", "/", "ok") // leaves a connection in the pool
	req := e.request("POST", "h", "/charge", nil)
	req.Header.Set("Idempotency-Key", "k1")
	if status, _ := e.do(req); status != http.StatusBadGateway {
		t.Errorf("%d, want 502", status)
	}
	if n := charges.Load(); n != 1 || key.Load() != "k1" {
		t.Errorf("delivered %d times, with the key %q", n, key.Load())
	}
}

// TestGetIsRepeatedOnAnotherTarget if the first broke off before it answered.
func TestGetIsRepeatedOnAnotherTarget(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	var resets atomic.Int64
	bad := testkit.StartRawApp(t, func(_ int, conn net.Conn, r *bufio.Reader) {
		_, _ = r.ReadString('\n')
		resets.Add(1)
		_ = conn.(*net.TCPConn).SetLinger(0)
	})
	good := testkit.StartApp(t, "good")
	e.deployRaw(nil, bad, good.Target)
	for resets.Load() < 3 {
		e.wantAnswer("h", "/", "good")
	}
	if h := e.target("app", 0).Health; h != api.HealthUnverified {
		t.Errorf("the target is %s; only probes and refused connections tell its health", h)
	}
}

// TestUploadArrivesAtTheSecondTarget intact, when the first refuses the connection.
func TestUploadArrivesAtTheSecondTarget(t *testing.T) {
	t.Parallel()
	upload := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	sum := func(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }
	var calls atomic.Int64
	good := testkit.StartHandler(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, sum(body))
	})
	for _, chunked := range []bool{false, true} {
		for range 10 { // until the dead one is asked first
			e := newTestEngine(t)
			e.deployRaw(nil, testkit.RefusedAddress, good.Target)
			req := e.request("POST", "h", "/", bytes.NewReader(upload))
			if chunked {
				req.ContentLength = -1
			}
			before := calls.Load()
			if status, body := e.do(req); status != http.StatusOK || body != sum(upload) {
				t.Fatalf("%d %q, want 200 and the whole upload", status, body)
			}
			if n := calls.Load() - before; n != 1 {
				t.Fatalf("the upload arrives %d times", n)
			}
			if e.target("app", 0).Health == api.HealthFailing {
				break
			}
		}
	}
}

// TestConnectionThatTheAppClosedCostsNoRequest is about servers that close idle
// connections, in the very instant in which a request goes out.
func TestConnectionThatTheAppClosedCostsNoRequest(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.deployRaw(nil, testkit.StartRawApp(t, func(_ int, conn net.Conn, r *bufio.Reader) {
		answerOK(conn, r, "ok") // one, and no more
	}))
	for range 200 {
		e.wantAnswer("h", "/", "ok")
	}
}

// TestRestartedInstanceCostsLatencyAndNoError is about the only instance of a
// service that is away for a moment.
func TestRestartedInstanceCostsLatencyAndNoError(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	path := testkit.SocketPath(t)
	first := testkit.NewApp("first").Start(t, testkit.Listen(t, "unix", path))
	e.deploy(requestFor("app", first))
	first.Kill()
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			req := e.request("POST", "h", "/", strings.NewReader("body"))
			if i%2 == 0 {
				req = e.request("GET", "h", "/", nil)
			}
			if status, body := e.do(req); status != http.StatusOK || body != "second" {
				t.Errorf("%s: %d %q, want 200", req.Method, status, body)
			}
		})
	}
	time.AfterFunc(300*time.Millisecond, func() { testkit.NewApp("second").Start(t, testkit.Listen(t, "unix", path)) })
	all.Wait()
}

// TestHeldRequestMovesToTheNextRelease because the one that it waits for may never
// come back.
func TestHeldRequestMovesToTheNextRelease(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.deployRaw(func(r *api.DeployRequest) { r.HoldTimeout = testkit.Milliseconds(int(testkit.Timeout.Milliseconds())) }, testkit.RefusedAddress)
	old := e.table.Load().named["app"].release()
	answers := make(chan string, 2)
	for _, method := range []string{"GET", "POST"} {
		go func() {
			_, body := e.do(e.request(method, "h", "/", strings.NewReader("body")))
			answers <- body
		}()
	}
	for old.Status().Targets[0].Health != api.HealthFailing || old.InFlight() < 2 {
		runtime.Gosched()
	}
	echo := testkit.StartHandler(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "new got %s", body)
	})
	if status := e.deploy(requestFor("app", echo)); status.Drained[0].Requests == 0 || !status.Drained[0].Clean() {
		t.Errorf("drained %+v", status.Drained)
	}
	for range 2 {
		if got := testkit.Receive(t, answers, "an answer"); got != "new got body" {
			t.Errorf("a held request is answered with %q", got)
		}
	}
}

func TestRequestsAreNotHeldForEver(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.deployRaw(func(r *api.DeployRequest) { r.HoldTimeout = testkit.Milliseconds(100) }, testkit.RefusedAddress)
	start := time.Now()
	if status, _ := e.get("h", "/"); status != http.StatusBadGateway {
		t.Errorf("%d, want 502", status)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
}

// TestRestartWithOneDeadTargetOfTwoCostsNoRequest though nobody knows yet which
// of them is alive.
func TestRestartWithOneDeadTargetOfTwoCostsNoRequest(t *testing.T) {
	t.Parallel()
	path := testkit.SocketPath(t)
	dying := testkit.NewApp("dying").Start(t, testkit.Listen(t, "unix", path))
	alive := testkit.StartApp(t, "alive")
	before := newTestEngine(t)
	before.deploy(requestFor("app", dying, alive))
	dying.Kill()

	e := newTestEngine(t, withStore(before.store))
	if err := e.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 10 {
				e.wantAnswer("h", "/", "alive")
				if status, body := e.do(e.request("POST", "h", "/", strings.NewReader("body"))); status != http.StatusOK {
					t.Errorf("POST: %d %q", status, body)
				}
			}
		})
	}
	all.Wait()
}

// TestBodyHasOneReader: a request is not repeated while the attempt that failed may
// still read its body.
func TestBodyHasOneReader(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	var seen atomic.Int32
	dying := func(_ int, _ net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err == nil {
			seen.Add(1)
		}
	}
	e.deployRaw(nil, testkit.StartRawApp(t, dying), testkit.StartRawApp(t, dying))
	// On a very slow machine, the client is asked for the body first.
	if status := e.raw("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"); status != http.StatusBadGateway && status != http.StatusContinue || seen.Load() != 1 {
		t.Errorf("answered with %d after %d attempts", status, seen.Load())
	}
}
