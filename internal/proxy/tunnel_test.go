package proxy

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// takeOver answers a request to upgrade and returns the connection.
func takeOver(t testing.TB, w http.ResponseWriter, protocol string) (net.Conn, *bufio.ReadWriter) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return nil, nil
	}
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol)
	return conn, buffered
}

// startWebSocketApp starts an app that sends back every frame, and shows them.
func startWebSocketApp(t testing.TB) (*testkit.App, <-chan []byte) {
	t.Helper()
	seen := make(chan []byte, 100)
	return testkit.StartHandler(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered := takeOver(t, w, "websocket")
		defer conn.Close()
		for {
			header := make([]byte, 2)
			if _, err := io.ReadFull(buffered, header); err != nil {
				close(seen)
				return
			}
			opcode, payload := testkit.ReadFrame(t, io.MultiReader(bytes.NewReader(header), buffered))
			seen <- append(header, payload...)
			if _, err := conn.Write(testkit.Frame(opcode, payload)); err != nil {
				t.Error(err)
			}
			if opcode == testkit.CloseOpcode {
				close(seen)
				return
			}
		}
	}), seen
}

// upgrade returns a connection that the engine has upgraded.
func (e *testEngine) upgrade(path, protocol string) (net.Conn, *bufio.Reader) {
	e.t.Helper()
	conn, r := e.dial()
	_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", path, protocol)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Upgrade") != protocol {
		e.t.Fatalf("upgrade: %s", resp.Status)
	}
	return conn, r
}

// echo sends a text and expects it back.
func echo(t testing.TB, conn net.Conn, r io.Reader, text string) {
	t.Helper()
	if _, err := conn.Write(testkit.Frame(testkit.TextOpcode, []byte(text), testkit.MaskKey...)); err != nil {
		t.Fatal(err)
	}
	if opcode, payload := testkit.ReadFrame(t, r); opcode != testkit.TextOpcode || string(payload) != text {
		t.Fatalf("sent %q, got %q back, opcode %x", text, payload, opcode)
	}
}

// TestWebSocketLivesThroughTheStreamTimeoutAndEndsPolitely is how a WebSocket
// should see a deploy.
func TestWebSocketLivesThroughTheStreamTimeoutAndEndsPolitely(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	old, seen := startWebSocketApp(t)
	e.deploy(requestFor("app", old))
	conn, r := e.upgrade("/", "websocket")
	echo(t, conn, r, "before")

	req := requestFor("app", testkit.StartApp(t, "new"))
	req.StreamTimeout = testkit.Milliseconds(1000)
	d := e.start(req)
	await(t, d, api.EventSwitched, 1)
	echo(t, conn, r, "after the switch")
	e.wantAnswer("h", "/", "new")

	header, err := r.Peek(2)
	if err != nil || header[1]&0x80 != 0 {
		t.Fatalf("frame header %x, %v, want one without a mask", header, err)
	}
	opcode, payload := testkit.ReadFrame(t, r)
	if opcode != testkit.CloseOpcode || binary.BigEndian.Uint16(payload) != 1001 {
		t.Fatalf("opcode %x, payload %q, want a close frame with 1001", opcode, payload)
	}
	testkit.MustWrite(t, conn, testkit.Frame(testkit.CloseOpcode, payload, testkit.MaskKey...))
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Errorf("after the close frame: %q, %v, want the end", rest, err)
	}
	_ = conn.Close()
	var last []byte
	for b := range seen {
		last = b
	}
	if len(last) < 4 || last[0]&0xf != testkit.CloseOpcode || last[1]&0x80 == 0 || binary.BigEndian.Uint16(last[2:]) != 1001 {
		t.Errorf("the last frame that the app saw is %q, want a masked close frame with 1001", last)
	}
	status, err := wait(t, d)
	if err != nil || status.Drained[0].Streams != 1 || status.Drained[0].CutStreams != 0 {
		t.Errorf("drained %+v, %v, want one stream and none cut", status.Drained, err)
	}
}

// TestWebSocketOfAClientThatIgnoresTheCloseIsCut keeps a client from holding on
// to an exchange that a deploy has said goodbye to.
func TestWebSocketOfAClientThatIgnoresTheCloseIsCut(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	old, _ := startWebSocketApp(t)
	e.deploy(requestFor("app", old))
	conn, r := e.upgrade("/", "websocket")
	req := requestFor("app", testkit.StartApp(t, "new"))
	req.StreamTimeout = testkit.Milliseconds(0)
	d := e.start(req)
	if opcode, _ := testkit.ReadFrame(t, r); opcode != testkit.CloseOpcode {
		t.Fatalf("opcode %x, want a close frame", opcode)
	}
	status, err := wait(t, d)
	if err != nil {
		t.Errorf("the deploy fails: %v", err)
	}
	drained := status.Drained[0]
	if drained.CutStreams != 1 || time.Duration(drained.Elapsed) > 4500*time.Millisecond {
		t.Errorf("drained %+v, want one stream cut, soon", drained)
	}
	// The client's side is closed as well. Its own end has not been.
	if _, err := io.ReadAll(r); err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the client's connection: %v, want it closed", err)
	}
	for err = nil; err == nil; {
		_, err = conn.Write(testkit.Frame(testkit.TextOpcode, nil, testkit.MaskKey...))
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		t.Error("the client's connection is still open")
	}
}

// TestHalfClosedUpgradePassesTheRest is about protocols whose clients send
// everything, close their side, and wait for the answer.
func TestHalfClosedUpgradePassesTheRest(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.deploy(requestFor("app", testkit.StartHandler(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered := takeOver(t, w, "tunnel")
		defer conn.Close()
		all, _ := io.ReadAll(buffered)
		_, _ = fmt.Fprintf(conn, "got %s", all)
	})))
	conn, r := e.upgrade("/", "tunnel")
	testkit.MustWrite(t, conn, []byte("everything"))
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != "got everything" {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestUpgradeNobodyAskedForIsABadGateway and not an empty 200.
func TestUpgradeNobodyAskedForIsABadGateway(t *testing.T) {
	t.Parallel()
	for _, asked := range []string{"", "websocket"} {
		e := newTestEngine(t)
		e.deploy(requestFor("app", testkit.StartHandler(t, func(w http.ResponseWriter, _ *http.Request) {
			if conn, _ := takeOver(t, w, "something-else"); conn != nil {
				_ = conn.Close()
			}
		})))
		req := e.request("GET", "h", "/", nil)
		if asked != "" {
			req.Header.Set("Connection", "Upgrade")
			req.Header.Set("Upgrade", asked)
		}
		if status, body := e.do(req); status != http.StatusBadGateway {
			t.Errorf("asked for %q: %d %q, want 502", asked, status, body)
		}
	}
}

// TestRefusedUpgradeIsAnOrdinaryAnswer that streams as any other.
func TestRefusedUpgradeIsAnOrdinaryAnswer(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	goOn := make(chan struct{})
	e.deploy(requestFor("app", testkit.StartHandler(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "log in")
		_ = http.NewResponseController(w).Flush()
		<-goOn
		_, _ = io.WriteString(w, " first")
	})))
	req := e.request("GET", "h", "/", nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "websocket")
	resp, err := e.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := make([]byte, len("log in"))
	if _, err := io.ReadFull(resp.Body, first); err != nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("%d %q, %v, want 403", resp.StatusCode, first, err)
	}
	close(goOn)
	if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != " first" {
		t.Errorf("then %q, %v", rest, err)
	}
}

// TestWebSocketOfATargetThatHasGoneEnds although its client does not close it.
func TestWebSocketOfATargetThatHasGoneEnds(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.deploy(requestFor("app", startWebSocket(t, func(conn net.Conn) {})))
	_, r := e.upgrade("/", "websocket")
	if b, err := io.ReadAll(r); err != nil || len(b) > 0 {
		t.Fatalf("%q, %v", b, err)
	}
	for deadline := time.Now().Add(testkit.Timeout); e.Services()[0].Active.Streams > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the connection is still there")
		}
	}
}
