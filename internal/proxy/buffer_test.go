package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
	"github.com/parachute-proxy/parachute/internal/spool"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// upload is what an app has got of a request with a body.
type upload struct {
	body             string
	length           int64
	expect, encoding string
	err              error
}

// startUploadApp starts an app that answers its name when it has read the body, of which it tells.
func startUploadApp(t testing.TB, name string) (*testkit.App, <-chan upload) {
	t.Helper()
	uploads := make(chan upload, 100)
	return testkit.StartHandler(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		uploads <- upload{string(body), r.ContentLength, r.Header.Get("Expect"), strings.Join(r.TransferEncoding, ","), err}
		_, _ = io.WriteString(w, name)
	}), uploads
}

// buffering returns a request to deploy apps that buffers requests, with little in memory.
func buffering(service string, apps ...*testkit.App) api.DeployRequest {
	req := requestFor(service, apps...)
	req.BufferRequests, req.BufferMemory = true, new(api.Size(1<<10))
	return req
}

// keepIn has an engine keep bodies in a directory of the test's.
func (e *testEngine) keepIn(dir string) *testEngine {
	e.Spools().SetLimits(spool.Limits{Dir: dir})
	return e
}

// send begins a request with a body in chunks, which the test writes to the pipe, over a connection
// that is nobody else's.
func (e *testEngine) send(host string) (body *io.PipeWriter, answered <-chan string) {
	e.t.Helper()
	r, w := io.Pipe()
	e.t.Cleanup(func() { _ = w.CloseWithError(io.ErrClosedPipe) })
	req := e.request(http.MethodPost, host, "/", r)
	answers := make(chan string, 1)
	go func() {
		status, body := e.do(req)
		answers <- fmt.Sprint(status, " ", body)
	}()
	return w, answers
}

func (e *testEngine) awaitBuffering(service string, n int) {
	e.t.Helper()
	testkit.WaitFor(e.t, "uploads to be buffered", func() bool { return e.Traffic()[service].Buffering() == n })
}

// Issue 16: an upload that is under way at a deploy was part of the old release, which had to
// wait for it, and cut it in the end.
func TestBufferedUploadGoesToTheReleaseThatServesWhenItIsThere(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t).keepIn(t.TempDir())
	old, oldUploads := startUploadApp(t, "old")
	e.deploy(buffering("app", old))
	body, answered := e.send("h")
	first := strings.Repeat("a", 10<<10)
	if _, err := io.WriteString(body, first); err != nil {
		t.Fatal(err)
	}
	e.awaitBuffering("app", 1)
	next, nextUploads := startUploadApp(t, "new")
	status := e.deploy(buffering("app", next)) // returns: nothing has to drain
	if status.Drained[0].Requests != 0 {
		t.Errorf("the old release had %+v to drain, want nothing", status.Drained)
	}
	if _, err := io.WriteString(body, "b"); err != nil {
		t.Fatal(err)
	}
	_ = body.Close()
	if got := testkit.Receive(t, answered, "the answer"); got != "200 new" {
		t.Errorf("the upload is answered with %s, want 200 new", got)
	}
	if got := <-nextUploads; got.body != first+"b" || got.length != int64(len(first)+1) {
		t.Errorf("the new release got %d bytes of %d, %v", len(got.body), got.length, got.err)
	}
	if len(oldUploads) > 0 {
		t.Error("the old release got a request")
	}
	if served := e.Services()[0].Served; served != 1 {
		t.Errorf("%d requests are counted, want 1", served)
	}
}

// TestBufferedBodyIsSentWithItsLength is about applications that take no chunks, and about the
// second that a target has to ask for a body.
func TestBufferedBodyIsSentWithItsLength(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t).keepIn(t.TempDir())
	app, uploads := startUploadApp(t, "app")
	e.deploy(buffering("app", app))
	conn, in := e.dial()
	_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusContinue {
		t.Fatalf("a client that waits to be asked gets %v, %v, want 100", resp, err)
	}
	_, _ = io.WriteString(conn, "5\r\nhello\r\n0\r\n\r\n")
	if resp, err = http.ReadResponse(in, nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v, want 200", resp, err)
	}
	if got := <-uploads; got != (upload{body: "hello", length: 5}) {
		t.Errorf("the app got %+v, want 5 bytes with their length, and nothing to expect", got)
	}
	if status, body := e.do(e.request(http.MethodPost, "h", "/", io.MultiReader(strings.NewReader("")))); status != http.StatusOK || body != "app" {
		t.Errorf("an empty body in chunks: %d %s", status, body)
	}
	if got := <-uploads; got.body != "" || got.length != 0 || got.err != nil {
		t.Errorf("of an empty body, the app got %+v", got)
	}
}

// TestBufferedBodyIsThereForEveryTarget is about a target that goes away when it has got more of a
// body than is kept of one that is not buffered.
func TestBufferedBodyIsThereForEveryTarget(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t).keepIn(t.TempDir())
	body := strings.Repeat("0123456789abcdef", 32<<10)
	app, uploads := startUploadApp(t, "app")
	gone := testkit.StartApp(t, "gone")
	req := buffering("app", app, gone)
	req.LB = api.RoundRobin
	e.deploy(req)
	gone.Kill()
	for range 4 {
		status, got := e.do(e.request(http.MethodPost, "h", "/", strings.NewReader(body)))
		if status != http.StatusOK || got != "app" {
			t.Fatalf("%d %s, want 200 app", status, got)
		}
		if got := <-uploads; got.body != body {
			t.Errorf("the app got %d bytes, want %d", len(got.body), len(body))
		}
	}
}

// TestHoldComesBeforeTheBody is about a service that is paused: nobody sends it gigabytes.
func TestHoldComesBeforeTheBody(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t).keepIn(t.TempDir())
	app, _ := startUploadApp(t, "app")
	e.deploy(buffering("app", app))
	e.pause(api.HoldRequest{})
	conn, in := e.dial()
	_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	e.waiting(1)
	if in.Buffered() > 0 || e.Traffic()["app"].Buffering() > 0 {
		t.Error("the body is asked for while the service is paused")
	}
	e.resume()
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != http.StatusContinue {
		t.Fatalf("%v, %v, want 100", resp, err)
	}
	// A pause that begins while the body is read holds the request.
	e.pause(api.HoldRequest{})
	_, _ = io.WriteString(conn, "hello")
	e.waiting(1)
	e.resume()
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v, want 200", resp, err)
	}
}

// Trap 36, and issue 16.
func TestAbortedUploadsLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	e := newTestEngine(t).keepIn(dir)
	app, uploads := startUploadApp(t, "app")
	e.deploy(buffering("app", app))
	address := strings.TrimPrefix(e.url, "http://")
	abort := func(chunked bool) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Error(err)
			return
		}
		framing, body := "Content-Length: 100000", strings.Repeat("x", 5000)
		if chunked {
			framing, body = "Transfer-Encoding: chunked", "1388\r\n"+body+"\r\n"
		}
		_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: h\r\n"+framing+"\r\n\r\n"+body)
		_ = conn.Close()
	}
	abort(false) // what is there once is there
	e.settle()
	descriptors, goroutines := openDescriptors(t), runtime.NumGoroutine()
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			for range 50 {
				abort(i%2 == 0)
			}
		})
	}
	all.Wait()
	testkit.WaitFor(t, "the requests to end", func() bool {
		memory, disk := e.Spools().Usage()
		return e.handling.Load() == 0 && memory == 0 && disk == 0 && e.Traffic()["app"].Buffering() == 0
	})
	testkit.WaitFor(t, "descriptors and goroutines to be given back", func() bool {
		return openDescriptors(t) <= descriptors+2 && runtime.NumGoroutine() <= goroutines+2
	})
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("files are left behind: %v, %v", files, err)
	}
	if n := len(uploads); n > 0 {
		t.Errorf("%d uploads that broke off have come to the app", n)
	}
}

// openDescriptors returns how many descriptors the process has open, or 0 where nobody tells.
func openDescriptors(t testing.TB) int {
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Logf("descriptors are not counted: %v", err)
	}
	return len(all)
}

func TestNoRoomForABodyIsTheProblemOfItsRequestAlone(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.Spools().SetLimits(spool.Limits{Dir: t.TempDir(), MaxDisk: 64 << 10})
	app, uploads := startUploadApp(t, "app")
	req := buffering("app", app)
	req.BufferResponses = true
	e.deploy(req)
	large := testkit.StartHandler(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(1<<20))
		_, _ = w.Write(bytes.Repeat([]byte("y"), 1<<20))
	})
	other := requestFor("other", large)
	other.Hosts, other.BufferResponses, other.BufferMemory = []string{"other"}, true, new(api.Size(0))
	e.deploy(other)

	if status, _ := e.do(e.request(http.MethodPost, "h", "/", strings.NewReader(strings.Repeat("x", 200<<10)))); status != http.StatusInsufficientStorage {
		t.Errorf("a body that there is no room for is answered with %d, want 507", status)
	}
	if status, body := e.do(e.request(http.MethodPost, "h", "/", strings.NewReader(strings.Repeat("x", 20<<10)))); status != http.StatusOK || body != "app" {
		t.Errorf("the next one is answered with %d %s", status, body)
	}
	if got := <-uploads; len(got.body) != 20<<10 || len(uploads) > 0 {
		t.Errorf("the app got %d bytes, and %d more uploads", len(got.body), len(uploads))
	}
	// An answer that there is no room for is passed on as it comes.
	if status, body := e.get("other", "/"); status != http.StatusOK || body != strings.Repeat("y", 1<<20) {
		t.Errorf("a large answer: %d, %d bytes", status, len(body))
	}
	testkit.WaitFor(t, "the room to be given back", func() bool { _, disk := e.Spools().Usage(); return disk == 0 })
	if n := e.Spools().Full(); n != 2 {
		t.Errorf("no room is counted %d times, want 2", n)
	}
}

func TestStreamsAreNotHeldBack(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(http.Header){
		"without a length": func(http.Header) {},
		"event stream":     func(h http.Header) { h.Set("Content-Type", "text/event-stream") },
		"asks for it": func(h http.Header) {
			h.Set("Content-Length", "6")
			h.Set("X-Accel-Buffering", "no")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newTestEngine(t)
			goOn := make(chan struct{})
			req := requestFor("app", testkit.StartHandler(t, func(w http.ResponseWriter, _ *http.Request) {
				begin(w.Header())
				_, _ = io.WriteString(w, "one")
				_ = http.NewResponseController(w).Flush()
				<-goOn
				_, _ = io.WriteString(w, "two")
			}))
			req.BufferResponses, req.MaxResponseBody = true, 100
			e.deploy(req)
			resp, err := e.client.Do(e.request(http.MethodGet, "h", "/", nil))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			first := make([]byte, 3)
			if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != "one" { // the app has more to say
				t.Errorf("%q, %v, want the first part at once", first, err)
			}
			close(goOn)
			if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "two" {
				t.Errorf("%q, %v, want the rest", rest, err)
			}
		})
	}
}

// TestSlowClientsKeepNoTargetBusy is what answers are buffered for.
func TestSlowClientsKeepNoTargetBusy(t *testing.T) {
	t.Parallel()
	const size = 16 << 20 // which no socket takes
	e := newTestEngine(t).keepIn(t.TempDir())
	done := make(chan struct{})
	body := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	req := requestFor("app", testkit.StartHandler(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		_, _ = w.Write(body)
		close(done)
	}))
	req.BufferResponses = true
	e.deploy(req)
	conn, in := e.dial()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	testkit.Receive(t, done, "the app to be done, though the client has read nothing")
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, body) {
		t.Errorf("the client gets %d bytes, %v", len(got), err)
	}
	testkit.WaitFor(t, "the room to be given back", func() bool {
		memory, disk := e.Spools().Usage()
		return memory == 0 && disk == 0
	})
}

// TestBufferedAnswerThatBreaksOffIsAnError is about a target that dies: nothing has been said to
// the client by then.
func TestBufferedAnswerThatBreaksOffIsAnError(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	req := requestFor("app")
	req.Force, req.BufferResponses = true, true
	req.Targets = []string{testkit.StartRawApp(t, func(_ int, conn net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
		}
	})}
	e.deploy(req)
	if status, body := e.get("h", "/"); status != http.StatusBadGateway {
		t.Errorf("%d %q, want 502", status, body)
	}
}

func TestLargeAnswersAreErrors(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	req := requestFor("app", testkit.StartHandler(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/known":
			w.Header().Set("Content-Length", "101")
			_, _ = io.WriteString(w, strings.Repeat("x", 101))
		case "/unknown":
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, strings.Repeat("x", 101))
		case "/stream":
			w.Header().Set("Content-Type", "text/event-stream")
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, strings.Repeat("x", 101))
		default:
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, strings.Repeat("x", 100))
		}
	}))
	req.MaxResponseBody = 100
	e.deploy(req)
	for path, size := range map[string]int{"/": 100, "/stream": 101} {
		if status, body := e.get("h", path); status != http.StatusOK || len(body) != size {
			t.Errorf("%s: %d with %d bytes, want 200 with %d", path, status, len(body), size)
		}
	}
	if status, body := e.get("h", "/known"); status != http.StatusBadGateway {
		t.Errorf("an answer that says that it is too large: %d %s, want 502", status, body)
	}
	if status, body := e.get("h", "/unknown"); status != 0 || !strings.Contains(body, "EOF") {
		t.Errorf("an answer that turns out to be too large: %d %s, want one that breaks off", status, body)
	}
	if resp, err := e.client.Do(e.request(http.MethodHead, "h", "/known", nil)); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("an answer without a body: %v, %v, want 200", resp, err)
	}
	if _, answers := e.Traffic()["app"].Large(); answers != 2 {
		t.Errorf("%d answers are counted as too large, want 2", answers)
	}
	if h := e.target("app", 0).Health; h != api.HealthHealthy {
		t.Errorf("the target is %s", h)
	}
}

// TestLargeBodiesAreRefused is about every way in which a body can be too large, buffered or not.
func TestLargeBodiesAreRefused(t *testing.T) {
	t.Parallel()
	for _, buffer := range []bool{false, true} {
		e := newTestEngine(t).keepIn(t.TempDir())
		app, uploads := startUploadApp(t, "app")
		req := requestFor("app", app)
		req.MaxBody, req.BufferRequests = 100_000, buffer
		e.deploy(req)
		over2 := &http.Transport{Protocols: new(http.Protocols)}
		over2.Protocols.SetUnencryptedHTTP2(true)
		t.Cleanup(over2.CloseIdleConnections)
		for name, client := range map[string]*http.Client{"HTTP/1.1": e.client, "HTTP/2": {Transport: over2, Timeout: testkit.Timeout}} {
			for _, size := range []int{100_000, 100_001, 200_000} {
				for _, known := range []bool{true, false} {
					body := io.Reader(strings.NewReader(strings.Repeat("x", size)))
					if !known {
						body = io.MultiReader(body) // whose length net/http does not see
					}
					want := http.StatusOK
					if size > 100_000 {
						want = http.StatusRequestEntityTooLarge
					}
					resp, err := client.Do(e.request(http.MethodPost, "h", "/", body))
					if err != nil || resp.StatusCode != want {
						t.Errorf("%s, %d bytes, length known: %v, buffered: %v: %v, %v, want %d", name, size, known, buffer, resp, err, want)
						continue
					}
					_ = resp.Body.Close()
				}
			}
		}
		whole := 0
		for len(uploads) > 0 {
			switch got := <-uploads; {
			case got.err == nil && len(got.body) == 100_000:
				whole++
			case got.err == nil, buffer:
				t.Errorf("the app got %d bytes of a body that is too large, %v; buffered: %v", len(got.body), got.err, buffer)
			}
		}
		if whole != 4 {
			t.Errorf("the app got %d bodies that are as large as they may be, want 4; buffered: %v", whole, buffer)
		}
		if n, _ := e.Traffic()["app"].Large(); n != 8 {
			t.Errorf("%d bodies are counted as too large, want 8", n)
		}
		if h := e.target("app", 0).Health; h != api.HealthHealthy {
			t.Errorf("the target is blamed: %s", h)
		}
	}
}

// TestLargeBodyIsRefusedBeforeItIsAskedFor is RFC 9110, section 10.1.1.
func TestLargeBodyIsRefusedBeforeItIsAskedFor(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	app, _ := startUploadApp(t, "app")
	req := buffering("app", app)
	req.MaxBody = 4
	e.deploy(req)
	conn, in := e.dial()
	_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("%v, %v, want 413 and no 100 before it", resp, err)
	}
	if !errors.Is(<-e.errs, forward.ErrLargeBody) {
		t.Error("another error than ErrLargeBody")
	}
}

// TestHandlersComeBeforeTheBuffer is about a client that nobody knows: it is refused before it can
// fill the disk. The limit holds for handlers that read the body themselves.
func TestHandlersComeBeforeTheBuffer(t *testing.T) {
	t.Parallel()
	h := newFakeHandlers(t)
	e := newTestEngine(t, withHandlers(h)).keepIn(t.TempDir())
	app, uploads := startUploadApp(t, "app")
	send := func(with string, body io.Reader) int {
		t.Helper()
		req := buffering("app", app)
		req.With, req.MaxBody = with, 10_000
		e.deploy(req)
		status, _ := e.do(e.request(http.MethodPost, "h", "/", body))
		return status
	}
	refused, answered := func() (*io.PipeWriter, <-chan string) {
		req := buffering("app", app)
		req.With = "refuse"
		e.deploy(req)
		return e.send("h")
	}()
	if got := testkit.Receive(t, answered, "the refusal, though nothing has been sent"); !strings.HasPrefix(got, "403 ") {
		t.Errorf("%s, want 403", got)
	}
	_ = refused.Close()
	for _, with := range []string{"pass", "read"} {
		if status := send(with, strings.NewReader(strings.Repeat("x", 5000))); status != http.StatusOK {
			t.Errorf("%s: %d, want 200", with, status)
		}
		if got := <-uploads; len(got.body) != 5000 || got.err != nil {
			t.Errorf("%s: the app got %d bytes, %v", with, len(got.body), got.err)
		}
		if status := send(with, io.MultiReader(strings.NewReader(strings.Repeat("x", 10_001)))); status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s, too large: %d, want 413", with, status)
		}
	}
	if len(uploads) > 0 {
		t.Error("the app got a body that is too large")
	}
	testkit.WaitFor(t, "the room to be given back", func() bool {
		memory, disk := e.Spools().Usage()
		return memory == 0 && disk == 0
	})
}

// TestPauseCountsFromWhenTheBodyIsThere is about an upload that took longer than a pause lasts.
func TestPauseCountsFromWhenTheBodyIsThere(t *testing.T) {
	t.Parallel()
	began := time.Now().Add(-time.Hour)
	for range 20 {
		h := newHold(api.Hold{Mode: api.Paused, MaxWait: api.Duration(time.Minute), Queue: 1}, nil)
		h.end()
		v := &visitor{in: httptest.NewRequest(http.MethodPost, "/", nil), client: forward.Sender{Began: began}, arrived: time.Now()}
		if err := v.wait(h, nil); err != nil {
			t.Fatalf("a request that has just begun to wait: %v", err)
		}
	}
}

// HEAD is answered with the length of a body that is not there, whatever the target speaks.
func TestAnswerToHeadIsNeverTooLarge(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"", "h2c://"} {
		e := newTestEngine(t)
		app := testkit.NewApp("app")
		app.Handler = func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "5000") }
		app.Server.Protocols = new(http.Protocols)
		app.Server.Protocols.SetHTTP1(true)
		app.Server.Protocols.SetUnencryptedHTTP2(true)
		l := testkit.Listen(t, "tcp", "127.0.0.1:0")
		app.Start(t, l)
		e.deploy(api.DeployRequest{Service: "app", Targets: []string{scheme + l.Addr().String()}, Hosts: []string{"h"}, MaxResponseBody: 1000})
		if status, body := e.do(e.request(http.MethodHead, "h", "/", nil)); status != http.StatusOK {
			t.Errorf("%sHEAD: %d %s, want 200", scheme, status, body)
		}
	}
}

// An answer that waits in the buffer for a slow client is cut with the drain, as any other.
func TestBufferedAnswerIsCutWhenItsDrainIsOver(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	const size = 64 << 20 // more than the buffers of sockets take
	req := requestFor("app", testkit.StartHandler(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(size))
		_, _ = w.Write(make([]byte, size))
	}))
	req.BufferResponses, req.DrainTimeout = true, testkit.Milliseconds(100)
	e.deploy(req)
	conn, in := e.dial()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan int64)
	go func() {
		var n int64
		for { // slowly, but without a pause that a write could not see the end of
			part, err := io.CopyN(io.Discard, resp.Body, 64<<10)
			if n += part; err != nil {
				got <- n
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if drained := e.deploy(requestFor("app", testkit.StartApp(t, "new"))).Drained; len(drained) != 1 || drained[0].CutRequests != 1 || time.Duration(drained[0].Elapsed) > 3*time.Second {
		t.Errorf("the drain: %+v", drained)
	}
	if n := testkit.Receive(t, got, "the end of the answer"); n >= size {
		t.Error("an answer that was told to be cut came whole")
	}
}
