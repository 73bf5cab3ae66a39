package main

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Close codes of RFC 6455, section 7.4.1.
const (
	closeGoingAway     = 1001
	closeProtocolError = 1002
	closeInvalidData   = 1007
	closeTooBig        = 1009
)

const (
	webSocketWriteTimeout = 10 * time.Second // for one frame
	webSocketCloseTimeout = 5 * time.Second  // for the peer to answer a close frame
)

// webSocket echoes messages (RFC 6455). Its first one, as JSON, tells which
// instance answers. When the application stops, it says goodbye with 1001.
func (a *app) webSocket(w http.ResponseWriter, r *http.Request) {
	accept, refusal := webSocketAccept(r)
	if refusal != "" {
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Sec-WebSocket-Version", "13")
		a.answer(w, http.StatusUpgradeRequired, refusal)
		return
	}
	greeting, err := json.Marshal(a.identity())
	if err != nil {
		a.answer(w, http.StatusInternalServerError, err.Error())
		return
	}

	// Counted before http.Server stops counting it, so that a stop at this
	// very moment waits for it in one way or the other.
	a.webSockets.Add(1)
	defer a.webSockets.Done()
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		a.answer(w, http.StatusNotImplemented, "WebSockets need HTTP/1.1")
		return
	}
	defer conn.Close()

	header := w.Header().Clone()
	header.Set("Upgrade", "websocket")
	header.Set("Connection", "Upgrade")
	header.Set("Sec-WebSocket-Accept", accept)
	buffered.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	header.Write(buffered)
	buffered.WriteString("\r\n")
	if buffered.Flush() != nil {
		return
	}

	ws := &webSocketConn{conn: conn, in: buffered.Reader}
	defer context.AfterFunc(a.stopping, func() { ws.close(closeGoingAway) })()
	if ws.write(frame{fin: true, opcode: opText, payload: greeting}) == nil {
		ws.echo()
	}
}

// webSocketAccept checks the opening handshake (section 4.2.1) and returns the
// value of Sec-WebSocket-Accept, or what is wrong.
func webSocketAccept(r *http.Request) (accept, refusal string) {
	key := r.Header.Get("Sec-WebSocket-Key")
	nonce, err := base64.StdEncoding.DecodeString(key)
	switch {
	case r.Method != http.MethodGet,
		!hasToken(r.Header["Connection"], "upgrade"),
		!hasToken(r.Header["Upgrade"], "websocket"):
		return "", "this is a WebSocket"
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		return "", "only version 13 of the WebSocket protocol is spoken here"
	case err != nil || len(nonce) != 16:
		return "", "Sec-WebSocket-Key is not 16 bytes in base64"
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:]), ""
}

// hasToken reports whether a comma-separated header has the token.
func hasToken(values []string, token string) bool {
	for _, value := range values {
		for part := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// webSocketConn is an open WebSocket, seen from the server.
type webSocketConn struct {
	conn net.Conn
	in   *bufio.Reader // only for echo

	writeMu sync.Mutex // guards writes to conn, and closing
	closing bool       // a close frame has been written
}

// echo sends every message back until the WebSocket is closed by either side.
func (ws *webSocketConn) echo() {
	for {
		message, err := ws.readMessage()
		if code, ok := errors.AsType[closeCode](err); ok {
			ws.close(code)
			ws.linger()
			return
		}
		if err != nil || ws.write(message) != nil {
			return // closed by the peer, or the peer has vanished
		}
	}
}

// readMessage returns the next text or binary message as a single frame, and
// answers pings in between. Its error is io.EOF when the peer has closed the
// WebSocket, and a closeCode when it must be closed because of what arrived.
func (ws *webSocketConn) readMessage() (message frame, err error) {
	for started := false; ; {
		f, err := readFrame(ws.in, maxMessage-len(message.payload))
		if err != nil {
			return message, err
		}
		switch f.opcode {
		case opPing:
			f.opcode = opPong
			if err := ws.write(f); err != nil {
				return message, err
			}
			continue
		case opPong:
			continue
		case opClose:
			ws.close(codeOfClose(f.payload))
			return message, io.EOF
		}

		if started != (f.opcode == opContinuation) {
			return message, closeCode(closeProtocolError)
		}
		if !started {
			message.opcode, started = f.opcode, true
		}
		message.payload = append(message.payload, f.payload...)
		if !f.fin {
			continue
		}
		if message.opcode == opText && !utf8.Valid(message.payload) {
			return message, closeCode(closeInvalidData)
		}
		message.fin = true
		return message, nil
	}
}

// codeOfClose returns the code to answer a close frame with: its own one, if
// it is one that may be sent (section 7.4), or 0 if it has none.
func codeOfClose(payload []byte) closeCode {
	if len(payload) == 0 {
		return 0
	}
	if len(payload) == 1 || !utf8.Valid(payload[2:]) {
		return closeProtocolError
	}
	code := binary.BigEndian.Uint16(payload)
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014, code >= 3000 && code <= 4999:
		return closeCode(code)
	}
	return closeProtocolError
}

// write sends a frame, unless a close frame has been sent: nothing may follow one.
func (ws *webSocketConn) write(f frame) error {
	ws.writeMu.Lock()
	defer ws.writeMu.Unlock()
	if ws.closing {
		return nil
	}
	ws.closing = f.opcode == opClose
	ws.conn.SetWriteDeadline(time.Now().Add(webSocketWriteTimeout))
	_, err := ws.conn.Write(f.encode())
	return err
}

// close sends a close frame (0: without a code) and bounds the wait for the
// one that answers it.
func (ws *webSocketConn) close(code closeCode) {
	ws.conn.SetReadDeadline(time.Now().Add(webSocketCloseTimeout))
	ws.write(frame{fin: true, opcode: opClose, payload: code.payload()})
}

// linger discards what a peer still sends after its fault. Closing at once with
// unread input would reset the connection, and a reset can overtake the close
// frame that explains it.
func (ws *webSocketConn) linger() {
	if half, ok := ws.conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, ws.conn)
	}
}
