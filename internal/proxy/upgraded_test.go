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
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// key masks what the client sends.
var key = []byte{1, 2, 3, 4}

// collector gathers what it reads.
type collector struct {
	mu  sync.Mutex
	got []byte
	err error
}

func collect(r io.Reader) *collector {
	c := new(collector)
	go func() {
		p := make([]byte, 1000)
		for {
			n, err := r.Read(p)
			c.mu.Lock()
			c.got, c.err = append(c.got, p[:n]...), err
			c.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return c
}

// result returns what has been read so far, and how it ended, if it did.
func (c *collector) result() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.got), c.err
}

// upgradedPair is an upgraded connection between a target and a client that both
// listen.
type upgradedPair struct {
	*upgradedConn
	target             net.Conn
	toClient, toTarget *collector
}

func newUpgradedPair(t *testing.T, websocket bool) *upgradedPair {
	target, conn := net.Pipe()
	t.Cleanup(func() { _, _ = target.Close(), conn.Close() })
	u := newUpgradedConn(conn, conn, websocket)
	return &upgradedPair{u, target, collect(u), collect(target)}
}

// wantBytes fails the test unless the collectors have got these bytes; a close
// frame, whose mask is random, is told by the word "close".
func (p *upgradedPair) wantBytes(t *testing.T, toClient, toTarget string) {
	t.Helper()
	synctest.Wait()
	describe := func(c *collector) string {
		b, _ := c.result()
		ends, closed := frameEnds(b)
		if closed == 0 || closed != len(b) {
			return string(b)
		}
		start := 0
		if len(ends) > 1 {
			start = ends[len(ends)-2]
		}
		_, payload := readFrame(t, bytes.NewReader(b[start:]))
		masked := ""
		if b[start+1]&0x80 != 0 {
			masked = " masked"
		}
		return fmt.Sprintf("%s[close %d%s]", b[:start], binary.BigEndian.Uint16(payload), masked)
	}
	if got := describe(p.toClient); got != toClient {
		t.Errorf("the client has got %q, want %q", got, toClient)
	}
	if got := describe(p.toTarget); got != toTarget {
		t.Errorf("the target has got %q, want %q", got, toTarget)
	}
}

func mustWrite(t testing.TB, w io.Writer, b []byte) {
	t.Helper()
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
}

func TestIdleWebSocketIsClosedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newUpgradedPair(t, true)
		p.closePolitely()
		p.closePolitely() // once more is no more
		p.wantBytes(t, "[close 1001]", "[close 1001 masked]")
		// The client answers, and is not made to wait.
		start := time.Now()
		mustWrite(t, p, frame(closeOpcode, []byte{3, 233}, key...))
		p.wantBytes(t, "[close 1001]", "[close 1001 masked]")
		if _, err := p.toClient.result(); err != io.EOF || time.Since(start) != 0 {
			t.Errorf("ended with %v after %s, want EOF at once", err, time.Since(start))
		}
	})
}

func TestCloseWaitsForTheFrameInProgress(t *testing.T) {
	down := frame(textFrame, []byte("from the app"))
	up := frame(textFrame, []byte("from the client"), key...)
	next := frame(textFrame, []byte("next"), key...)
	for cut := 1; cut < len(down); cut++ {
		synctest.Test(t, func(t *testing.T) {
			p := newUpgradedPair(t, true)
			mustWrite(t, p.target, down[:cut])
			mustWrite(t, p, up[:cut])
			p.wantBytes(t, string(down[:cut]), string(up[:cut]))
			p.closePolitely()
			p.wantBytes(t, string(down[:cut]), string(up[:cut]))
			time.Sleep(streamLinger / 2)
			// The rest comes, and the beginning of something that would be torn.
			mustWrite(t, p.target, append(bytes.Clone(down[cut:]), next[:1]...))
			mustWrite(t, p, append(bytes.Clone(up[cut:]), next[:3]...))
			p.wantBytes(t, string(down)+"[close 1001]", string(up)+"[close 1001 masked]")
			mustWrite(t, p, next[3:])
			p.wantBytes(t, string(down)+"[close 1001]", string(up)+"[close 1001 masked]")
			time.Sleep(streamLinger)
			synctest.Wait()
			if _, err := p.toClient.result(); err != io.EOF {
				t.Errorf("ended with %v, want EOF", err)
			}
		})
	}
}

// TestCloseLeavesATornFrameToTheCut which counts it, instead of ending the
// connection by itself as if it had been polite.
func TestCloseLeavesATornFrameToTheCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newUpgradedPair(t, true)
		half := frame(textFrame, []byte("from the app"))[:5]
		mustWrite(t, p.target, half)
		synctest.Wait()
		p.closePolitely()
		time.Sleep(time.Minute)
		p.wantBytes(t, string(half), "[close 1001 masked]")
		if _, err := p.toClient.result(); err != nil {
			t.Errorf("ended with %v before it was cut", err)
		}
		p.cut()
		synctest.Wait()
		if _, err := p.toClient.result(); err == nil || err == io.EOF {
			t.Errorf("ended with %v: it looks complete", err)
		}
	})
}

func TestNobodyGetsASecondCloseFrame(t *testing.T) {
	bye := func(key ...byte) []byte { return frame(closeOpcode, []byte{3, 232}, key...) }
	t.Run("the app says goodbye", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newUpgradedPair(t, true)
			mustWrite(t, p.target, bye())
			synctest.Wait()
			p.closePolitely()
			p.wantBytes(t, "[close 1000]", "[close 1001 masked]")
			time.Sleep(streamLinger)
		})
	})
	t.Run("the client says goodbye", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newUpgradedPair(t, true)
			mustWrite(t, p, bye(key...))
			p.closePolitely()
			p.wantBytes(t, "[close 1001]", "[close 1000 masked]")
		})
	})
	// Half a goodbye that is held back is none.
	t.Run("the app begins to say goodbye", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newUpgradedPair(t, true)
			hello := frame(textFrame, []byte("hello"))
			mustWrite(t, p.target, hello[:3])
			synctest.Wait()
			p.closePolitely()
			mustWrite(t, p.target, append(bytes.Clone(hello[3:]), bye()[:3]...))
			p.wantBytes(t, string(hello)+"[close 1001]", "[close 1001 masked]")
			time.Sleep(streamLinger)
		})
	})
	t.Run("the client begins to say goodbye", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newUpgradedPair(t, true)
			hello := frame(textFrame, []byte("hello"), key...)
			mustWrite(t, p, hello[:3])
			p.closePolitely()
			mustWrite(t, p, append(bytes.Clone(hello[3:]), bye(key...)[:3]...))
			p.wantBytes(t, "[close 1001]", string(hello)+"[close 1001 masked]")
			mustWrite(t, p, bye(key...)[3:])
		})
	})
}

func TestUnknownProtocolIsMerelyClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newUpgradedPair(t, false)
		mustWrite(t, p.target, []byte("\x81\x05he"))
		mustWrite(t, p, []byte("\x81\x85he"))
		p.closePolitely()
		p.wantBytes(t, "\x81\x05he", "\x81\x85he")
		if _, err := p.toClient.result(); err != io.EOF {
			t.Errorf("ended with %v, want EOF", err)
		}
	})
}

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
func startWebSocketApp(t testing.TB) (*app, <-chan []byte) {
	t.Helper()
	seen := make(chan []byte, 100)
	return startHandler(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered := takeOver(t, w, "websocket")
		defer conn.Close()
		for {
			header := make([]byte, 2)
			if _, err := io.ReadFull(buffered, header); err != nil {
				close(seen)
				return
			}
			opcode, payload := readFrame(t, io.MultiReader(bytes.NewReader(header), buffered))
			seen <- append(header, payload...)
			if _, err := conn.Write(frame(opcode, payload)); err != nil {
				t.Error(err)
			}
			if opcode == closeOpcode {
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
	if _, err := conn.Write(frame(textFrame, []byte(text), key...)); err != nil {
		t.Fatal(err)
	}
	if opcode, payload := readFrame(t, r); opcode != textFrame || string(payload) != text {
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

	req := requestFor("app", startApp(t, "new"))
	req.StreamTimeout = ms(1000)
	d := e.start(req)
	await(t, d, api.EventSwitched, 1)
	echo(t, conn, r, "after the switch")
	e.wantAnswer("h", "/", "new")

	header, err := r.Peek(2)
	if err != nil || header[1]&0x80 != 0 {
		t.Fatalf("frame header %x, %v, want one without a mask", header, err)
	}
	opcode, payload := readFrame(t, r)
	if opcode != closeOpcode || binary.BigEndian.Uint16(payload) != 1001 {
		t.Fatalf("opcode %x, payload %q, want a close frame with 1001", opcode, payload)
	}
	mustWrite(t, conn, frame(closeOpcode, payload, key...))
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Errorf("after the close frame: %q, %v, want the end", rest, err)
	}
	_ = conn.Close()
	var last []byte
	for b := range seen {
		last = b
	}
	if len(last) < 4 || last[0]&0xf != closeOpcode || last[1]&0x80 == 0 || binary.BigEndian.Uint16(last[2:]) != 1001 {
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
	req := requestFor("app", startApp(t, "new"))
	req.StreamTimeout = ms(0)
	d := e.start(req)
	if opcode, _ := readFrame(t, r); opcode != closeOpcode {
		t.Fatalf("opcode %x, want a close frame", opcode)
	}
	status, err := wait(t, d)
	wantCode(t, err, api.CodeDrainTimeout)
	drained := status.Drained[0]
	if drained.CutStreams != 1 || time.Duration(drained.Elapsed) > 4500*time.Millisecond {
		t.Errorf("drained %+v, want one stream cut, soon", drained)
	}
	// The client's side is closed as well. Its own end has not been.
	if _, err := io.ReadAll(r); err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the client's connection: %v, want it closed", err)
	}
	for err = nil; err == nil; {
		_, err = conn.Write(frame(textFrame, nil, key...))
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
	e.deploy(requestFor("app", startHandler(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered := takeOver(t, w, "tunnel")
		defer conn.Close()
		all, _ := io.ReadAll(buffered)
		_, _ = fmt.Fprintf(conn, "got %s", all)
	})))
	conn, r := e.upgrade("/", "tunnel")
	mustWrite(t, conn, []byte("everything"))
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
		e.deploy(requestFor("app", startHandler(t, func(w http.ResponseWriter, _ *http.Request) {
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
	e.deploy(requestFor("app", startHandler(t, func(w http.ResponseWriter, _ *http.Request) {
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
	for deadline := time.Now().Add(testTimeout); e.Services()[0].Active.Streams > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the connection is still there")
		}
	}
}
