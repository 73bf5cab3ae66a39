package rig

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Opcodes of RFC 6455, section 5.2.
const (
	opText  = 0x1
	opClose = 0x8
)

// WebSocket is a client's side of a WebSocket, just enough to see what a proxy
// does to it.
type WebSocket struct {
	conn net.Conn
	in   *bufio.Reader
}

// CloseError is the close frame that the other side sent.
type CloseError struct {
	Code   int
	Reason string
}

func (e *CloseError) Error() string { return fmt.Sprintf("closed with %d %q", e.Code, e.Reason) }

// DialWebSocket opens a WebSocket at path of the server at addr, with the given
// Host header.
func DialWebSocket(addr, host, path string) (*WebSocket, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	key := make([]byte, 16)
	_, _ = rand.Read(key)
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n",
		path, host, base64.StdEncoding.EncodeToString(key))
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, &http.Request{Method: http.MethodGet})
	if err != nil {
		conn.Close()
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		conn.Close()
		return nil, fmt.Errorf("opening a WebSocket: %s", resp.Status)
	}
	return &WebSocket{conn: conn, in: in}, nil
}

// Send sends a text message.
func (ws *WebSocket) Send(text string) error { return ws.write(opText, []byte(text)) }

func (ws *WebSocket) write(opcode byte, payload []byte) error {
	frame := []byte{0x80 | opcode, 0x80}
	switch n := len(payload); {
	case n < 126:
		frame[1] |= byte(n)
	default:
		frame[1] |= 126
		frame = binary.BigEndian.AppendUint16(frame, uint16(n))
	}
	var mask [4]byte
	_, _ = rand.Read(mask[:])
	frame = append(frame, mask[:]...)
	for i, b := range payload {
		frame = append(frame, b^mask[i%4])
	}
	_, err := ws.conn.Write(frame)
	return err
}

// Receive returns the next text message. A close frame is answered and becomes a
// [CloseError].
func (ws *WebSocket) Receive() (string, error) {
	for {
		opcode, payload, err := ws.read()
		switch {
		case err != nil:
			return "", err
		case opcode == opText:
			return string(payload), nil
		case opcode == opClose:
			_ = ws.write(opClose, payload[:min(2, len(payload))])
			closed := &CloseError{Code: 1005}
			if len(payload) >= 2 {
				closed.Code, closed.Reason = int(binary.BigEndian.Uint16(payload)), string(payload[2:])
			}
			return "", closed
		}
	}
}

func (ws *WebSocket) read() (opcode byte, payload []byte, err error) {
	var header [2]byte
	if _, err := io.ReadFull(ws.in, header[:]); err != nil {
		return 0, nil, err
	}
	n := uint64(header[1] & 0x7f)
	switch n {
	case 126:
		var ext [2]byte
		if _, err := io.ReadFull(ws.in, ext[:]); err != nil {
			return 0, nil, err
		}
		n = uint64(binary.BigEndian.Uint16(ext[:]))
	case 127:
		return 0, nil, fmt.Errorf("a frame of more than 64 KiB")
	}
	// A server must not mask its frames, but one that sends back what it gets, without
	// looking into it, does.
	var mask [4]byte
	if masked := header[1]&0x80 != 0; masked {
		if _, err := io.ReadFull(ws.in, mask[:]); err != nil {
			return 0, nil, err
		}
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(ws.in, payload)
	for i := range payload {
		payload[i] ^= mask[i%4]
	}
	return header[0] & 0x0f, payload, err
}

// SetDeadline bounds all reads and writes to come.
func (ws *WebSocket) SetDeadline(t time.Time) { _ = ws.conn.SetDeadline(t) }

// Close closes the connection without a word.
func (ws *WebSocket) Close() { ws.conn.Close() }
