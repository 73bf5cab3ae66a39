package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// testSocket is the client's end of a WebSocket.
type testSocket struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

// openWebSocket does the handshake with the example key of RFC 6455, section
// 1.3, and reads the greeting.
func openWebSocket(t *testing.T, network, addr string) *testSocket {
	t.Helper()
	conn, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprint(conn, "GET /ws HTTP/1.1\r\nHost: app\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("X-Instance") != "web-1" ||
		resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("handshake: %s %v", resp.Status, resp.Header)
	}
	ws := &testSocket{t: t, conn: conn, in: in}
	ws.expect(opText, `{"instance":"web-1","version":"v7"}`)
	return ws
}

// send writes a frame as a client does, masked.
func (ws *testSocket) send(fin bool, opcode byte, payload string) {
	ws.t.Helper()
	b := frame{fin: fin, opcode: opcode, payload: []byte(payload)}.encode()
	b[1] |= 0x80
	head := len(b) - len(payload)
	mask := []byte{1, 2, 3, 4}
	out := append(bytes.Clone(b[:head]), mask...)
	for i, c := range b[head:] {
		out = append(out, c^mask[i%4])
	}
	if _, err := ws.conn.Write(out); err != nil {
		ws.t.Fatal(err)
	}
}

// expect reads a frame, which must be a whole message or control frame.
func (ws *testSocket) expect(opcode byte, payload string) {
	ws.t.Helper()
	head := make([]byte, 2)
	if _, err := io.ReadFull(ws.in, head); err != nil {
		ws.t.Fatal(err)
	}
	var extended [8]byte
	length := uint64(head[1])
	switch {
	case length == 126:
		io.ReadFull(ws.in, extended[6:])
		length = binary.BigEndian.Uint64(extended[:])
	case length == 127:
		io.ReadFull(ws.in, extended[:])
		length = binary.BigEndian.Uint64(extended[:])
	case length > 127:
		ws.t.Fatal("a server's frame is masked")
	}
	got := make([]byte, length)
	if _, err := io.ReadFull(ws.in, got); err != nil {
		ws.t.Fatal(err)
	}
	if head[0] != 0x80|opcode || string(got) != payload {
		ws.t.Fatalf("got frame %#x %.80q, want opcode %#x %.80q", head[0], got, opcode, payload)
	}
}

// expectClose reads a close frame with this code, and the end of the connection.
func (ws *testSocket) expectClose(code closeCode) {
	ws.t.Helper()
	ws.expect(opClose, string(code.payload()))
	if rest, err := io.ReadAll(ws.in); err != nil || len(rest) > 0 {
		ws.t.Errorf("after the close frame: %q, %v", rest, err)
	}
}

func TestWebSocketEchoesMessages(t *testing.T) {
	_, srv := start(t, options{})
	ws := openWebSocket(t, "tcp", srv.Listener.Addr().String())
	for _, size := range []int{0, 1, 125, 126, 0xFFFF, 0x10000, maxMessage} {
		message := strings.Repeat("x", size)
		ws.send(true, opBinary, message)
		ws.expect(opBinary, message)
	}

	ws.send(false, opText, "grü"[:3]) // in the middle of a letter
	ws.send(true, opPing, "still there?")
	ws.expect(opPong, "still there?")
	ws.send(true, opPong, "unasked")
	ws.send(true, opContinuation, "\xbcn")
	ws.expect(opText, "grün")
}

func TestWebSocketAnswersCloseWithItsCode(t *testing.T) {
	_, srv := start(t, options{})
	for _, code := range []closeCode{0, 1000, closeGoingAway, 4321} {
		ws := openWebSocket(t, "tcp", srv.Listener.Addr().String())
		ws.send(true, opClose, string(code.payload()))
		ws.expectClose(code)
	}
}

func TestWebSocketRefusesBrokenFrames(t *testing.T) {
	_, srv := start(t, options{})
	for name, test := range map[string]struct {
		send func(*testSocket)
		want closeCode
	}{
		"unmasked":          {func(ws *testSocket) { ws.conn.Write([]byte{0x81, 0x00}) }, closeProtocolError},
		"reserved bit":      {func(ws *testSocket) { ws.conn.Write([]byte{0xC1, 0x80, 0, 0, 0, 0}) }, closeProtocolError},
		"unknown opcode":    {func(ws *testSocket) { ws.send(true, 0x3, "") }, closeProtocolError},
		"fragmented ping":   {func(ws *testSocket) { ws.send(false, opPing, "") }, closeProtocolError},
		"long ping":         {func(ws *testSocket) { ws.send(true, opPing, strings.Repeat("x", 126)) }, closeProtocolError},
		"continues nothing": {func(ws *testSocket) { ws.send(true, opContinuation, "x") }, closeProtocolError},
		"starts twice":      {func(ws *testSocket) { ws.send(false, opText, "x"); ws.send(true, opText, "x") }, closeProtocolError},
		"half a code":       {func(ws *testSocket) { ws.send(true, opClose, "x") }, closeProtocolError},
		"reserved code":     {func(ws *testSocket) { ws.send(true, opClose, string(closeCode(1005).payload())) }, closeProtocolError},
		"not UTF-8":         {func(ws *testSocket) { ws.send(true, opText, "\xff") }, closeInvalidData},
		"too big":           {func(ws *testSocket) { ws.send(true, opText, strings.Repeat("x", maxMessage+1)) }, closeTooBig},
		"too big in parts": {func(ws *testSocket) {
			ws.send(false, opText, strings.Repeat("x", maxMessage))
			ws.send(true, opContinuation, "x")
		}, closeTooBig},
	} {
		t.Run(name, func(t *testing.T) {
			ws := openWebSocket(t, "tcp", srv.Listener.Addr().String())
			test.send(ws)
			ws.expectClose(test.want)
		})
	}
}

func TestWebSocketSaysGoodbyeOnce(t *testing.T) {
	a, srv := start(t, options{})
	ws := openWebSocket(t, "tcp", srv.Listener.Addr().String())
	a.endStreams()
	ws.expect(opClose, string(closeCode(closeGoingAway).payload()))
	ws.send(true, opText, "crossed the close frame: not answered")
	ws.send(true, opClose, string(closeCode(closeGoingAway).payload()))
	if rest, err := io.ReadAll(ws.in); err != nil || len(rest) > 0 {
		t.Errorf("after the close frame: %q, %v", rest, err)
	}
	a.webSockets.Wait()
}

func TestBadHandshakeIsRefused(t *testing.T) {
	good := http.Header{
		"Connection":            {"Upgrade"},
		"Upgrade":               {"websocket"},
		"Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key":     {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	if _, refusal := webSocketAccept(&http.Request{Method: http.MethodGet, Header: good}); refusal != "" {
		t.Fatal(refusal)
	}
	for key := range good {
		header := good.Clone()
		header.Set(key, "8")
		if _, refusal := webSocketAccept(&http.Request{Method: http.MethodGet, Header: header}); refusal == "" {
			t.Errorf("accepted with %s: 8", key)
		}
	}
}
