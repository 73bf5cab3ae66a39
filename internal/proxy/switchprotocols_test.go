package proxy

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/forward"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// startWebSocket starts an application that accepts every WebSocket, does something with
// it, and closes it.
func startWebSocket(t *testing.T, then func(net.Conn)) *testkit.App {
	t.Helper()
	return testkit.StartHandler(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Accept: " + testkit.WebSocketAccept(r.Header.Get("Sec-WebSocket-Key")) + "\r\n\r\n"))
		then(conn)
	})
}

// webSocketRequest asks for a WebSocket over HTTP/3.
func webSocketRequest(e *testEngine, body io.ReadCloser) *http.Request {
	r := e.request(http.MethodConnect, "h", "/", nil)
	r.Method, r.Proto, r.ProtoMajor, r.Body, r.ContentLength = http.MethodConnect, "websocket", 3, body, -1
	return r
}

// busyWriter is the answer to a client over HTTP/3 that takes nothing, with timers of
// the server's around it: a write that begins puts its deadline over any other.
type busyWriter struct {
	header http.Header
	// writing is closed when the write has begun.
	writing chan struct{}

	// mu guards what follows.
	mu        sync.Mutex
	deadlines int
	ended     chan struct{}
}

func (w *busyWriter) Header() http.Header { return w.header }
func (w *busyWriter) WriteHeader(int)     {}
func (w *busyWriter) Flush()              {}

func (w *busyWriter) Write([]byte) (int, error) {
	close(w.writing)
	<-w.ended
	return 0, os.ErrDeadlineExceeded
}

// SetWriteDeadline ends the write, unless it is one of those that come with the cut, an
// instant before the write's own: the drain's, and that of the end of the client's side.
func (w *busyWriter) SetWriteDeadline(time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deadlines++; w.deadlines == 3 {
		close(w.ended)
	}
	return nil
}

// TestCutEndsAWriteThatWasAboutToBegin which would otherwise go on for as long as a
// client may stall.
func TestCutEndsAWriteThatWasAboutToBegin(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.deploy(requestFor("app", startWebSocket(t, func(conn net.Conn) {
		_, _ = conn.Write(testkit.Frame(testkit.TextOpcode, []byte("hello")))
		_, _ = conn.Read(make([]byte, 1000))
	})))
	w := &busyWriter{header: make(http.Header), writing: make(chan struct{}), ended: make(chan struct{})}
	nobody, hold := net.Pipe()
	t.Cleanup(func() { _, _ = nobody.Close(), hold.Close() })
	r := webSocketRequest(e, nobody)
	ended := make(chan any, 1)
	go func() {
		defer func() { ended <- recover() }()
		_ = e.ServeHTTP(w, r, "", forward.Sender{})
	}()
	testkit.Receive(t, w.writing, "a write to the client")
	req := requestFor("app", testkit.StartApp(t, "new"))
	req.StreamTimeout = testkit.Milliseconds(0)
	d := e.start(req)
	if got := testkit.Receive(t, ended, "the end of the exchange"); got != http.ErrAbortHandler {
		t.Errorf("it ended with %v", got)
	}
	status, err := wait(t, d)
	if err != nil {
		t.Errorf("the deploy fails: %v", err)
	}
	if drained := status.Drained[0]; drained.CutStreams != 1 || time.Duration(drained.Elapsed) > 5*time.Second {
		t.Errorf("drained %+v, want one stream cut, soon", drained)
	}
}

// streamBody is the client's side of a stream. reads counts those that are under way.
type streamBody struct {
	net.Conn
	reads atomic.Int32
}

func (b *streamBody) Read(p []byte) (int, error) {
	b.reads.Add(1)
	defer b.reads.Add(-1)
	return b.Conn.Read(p)
}

// streamWriter is the answer to the client of a streamBody.
type streamWriter struct {
	*httptest.ResponseRecorder
	body *streamBody
}

func (w streamWriter) SetReadDeadline(t time.Time) error { return w.body.Conn.SetReadDeadline(t) }

// TestNobodyReadsFromAStreamThatIsOver since its request is the server's again, with what
// that counts for its log.
func TestNobodyReadsFromAStreamThatIsOver(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.deploy(requestFor("app", startWebSocket(t, func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1000)) })))
	ours, client := net.Pipe()
	t.Cleanup(func() { _, _ = ours.Close(), client.Close() })
	body := &streamBody{Conn: ours}
	r := webSocketRequest(e, body)
	w := streamWriter{httptest.NewRecorder(), body}
	ended := make(chan error, 1)
	go func() {
		err := e.ServeHTTP(w, r, "", forward.Sender{})
		if n := body.reads.Load(); n != 0 {
			t.Errorf("%d reads are still under way", n)
		}
		ended <- err
	}()
	// The app has the first frame and ends its side, while ours waits for a second.
	if _, err := client.Write(testkit.Frame(testkit.TextOpcode, []byte("hello"))); err != nil {
		t.Fatal(err)
	}
	if err := testkit.Receive(t, ended, "the end of the stream"); err != nil {
		t.Error(err)
	}
}
