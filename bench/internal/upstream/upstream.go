// Package upstream is the application behind the proxies: an HTTP/1.1 server that
// answers with prepared bytes.
package upstream

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net"
	"strconv"

	"github.com/parachute-proxy/parachute/bench/internal/wire"
)

// Paths that the upstream answers. Everything else is 404.
const (
	Small     = "/small"  // 13 bytes
	Medium    = "/10k"    // 10 KiB
	Large     = "/1m"     // 1 MiB
	Upload    = "/upload" // reads the body and answers with its length in decimal digits
	WebSocket = "/ws"     // upgrades, then sends back every byte it gets
	Up        = "/up"     // the health check of the proxies that have one
)

// Sizes of the bodies in bytes.
const (
	SmallSize  = 13
	MediumSize = 10 << 10
	LargeSize  = 1 << 20
)

// requestBuffer is the size of the buffer of each connection in bytes. It is what
// an upload is read in.
const requestBuffer = 64 << 10

var answers = map[string][]byte{
	Small:  answer("200 OK", []byte("Hello, World!")),
	Medium: answer("200 OK", bytes.Repeat([]byte("0123456789abcdef"), MediumSize/16)),
	Large:  answer("200 OK", bytes.Repeat([]byte("0123456789abcdef"), LargeSize/16)),
	Up:     answer("200 OK", []byte("OK")),
}

var notFound = answer("404 Not Found", []byte("not found"))

func answer(status string, body []byte) []byte {
	return append(fmt.Appendf(nil, "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", status, len(body)), body...)
}

// Serve answers connections until the listener is closed.
func Serve(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return fmt.Errorf("accepting a connection: %w", err)
		}
		go serve(conn)
	}
}

func serve(conn net.Conn) {
	defer conn.Close()
	r := wire.NewReader(conn, requestBuffer)
	for {
		head, err := r.Head()
		if err != nil {
			return
		}
		target := string(head.Target())
		if target == WebSocket && head.WebSocketKey != nil {
			echo(conn, r, head)
			return
		}
		// The head's slices are gone once the body is read.
		length, err := skipBody(r, head)
		if err != nil {
			return
		}
		out := notFound
		if target == Upload {
			out = answer("200 OK", strconv.AppendInt(nil, length, 10))
		} else if prepared, ok := answers[target]; ok {
			out = prepared
		}
		if _, err := conn.Write(out); err != nil || head.Close {
			return
		}
	}
}

func skipBody(r *wire.Reader, head wire.Head) (int64, error) {
	switch head.Length {
	case wire.Unknown: // a request without a length has no body (RFC 9112, section 6.3)
		return 0, nil
	case wire.Chunked:
		return r.SkipChunked()
	default:
		return head.Length, r.Skip(head.Length)
	}
}

// echo upgrades to a WebSocket and sends everything back. A client masks its
// frames and a server must not, but nobody here looks into them: a proxy that
// would is not one of those under test.
func echo(conn net.Conn, r *wire.Reader, head wire.Head) {
	// RFC 6455, section 4.2.2.
	sum := sha1.Sum(fmt.Appendf(nil, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", head.WebSocketKey))
	_, err := fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	if err != nil {
		return
	}
	buf := make([]byte, 512)
	for {
		n, err := r.Read(buf)
		if err != nil {
			return
		}
		if _, err := conn.Write(buf[:n]); err != nil {
			return
		}
	}
}
