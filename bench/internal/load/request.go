// Package load sends requests to a proxy and checks every answer.
package load

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/parachute-proxy/parachute/bench/internal/wire"
)

// timeout bounds one request, and the opening of one connection.
const timeout = 20 * time.Second

// responseBuffer is the size of the buffer of each connection in bytes.
const responseBuffer = 64 << 10

// Request is what is sent, and what has to come back.
type Request struct {
	Method string // default GET
	Path   string
	Host   string
	// Body is the length of the request's body in bytes.
	Body int
	// WantLength is the length of the response's body in bytes. The status has to
	// be 200.
	WantLength int64
	// Close asks the proxy to close the connection after the response.
	Close bool
}

// Bytes returns the request as it goes over an HTTP/1.1 connection.
func (r Request) Bytes() []byte {
	method := r.Method
	if method == "" {
		method = "GET"
	}
	b := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: parachute-bench\r\nAccept: */*\r\n", method, r.Path, r.Host)
	if r.Body > 0 {
		b = fmt.Appendf(b, "Content-Type: application/octet-stream\r\nContent-Length: %d\r\n", r.Body)
	}
	if r.Close {
		b = append(b, "Connection: close\r\n"...)
	}
	b = append(b, "\r\n"...)
	return append(b, bytes.Repeat([]byte{'x'}, r.Body)...)
}

// Server is where requests go.
type Server struct {
	Addr string // host:port
	TLS  *tls.Config
}

// client is a connection to the proxy.
type client struct {
	conn net.Conn
	in   *wire.Reader
}

func dial(server Server) (*client, error) {
	conn, err := net.DialTimeout("tcp", server.Addr, timeout)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	if server.TLS != nil {
		tlsConn := tls.Client(conn, server.TLS)
		_ = conn.SetDeadline(time.Now().Add(timeout))
		if err := tlsConn.Handshake(); err != nil {
			conn.Close()
			return nil, fmt.Errorf("shaking hands: %w", err)
		}
		_ = conn.SetDeadline(time.Time{})
		conn = tlsConn
	}
	return &client{conn: conn, in: wire.NewReader(conn, responseBuffer)}, nil
}

// Close closes the connection.
func (c *client) Close() { _ = c.conn.Close() }

// exchange sends a request, and is receive for the response. It takes no longer than timeout.
func (c *client) exchange(message []byte, wantLength int64) (again bool, err error) {
	_ = c.conn.SetDeadline(time.Now().Add(timeout))
	if _, err := c.conn.Write(message); err != nil {
		return false, err
	}
	return c.receive(wantLength)
}

// receive reads a response and checks it. It reports whether the connection can
// be used again.
func (c *client) receive(wantLength int64) (again bool, err error) {
	head, err := c.in.Head()
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return false, fmt.Errorf("reading a response: %w", err)
	}
	status := head.Status()
	length := head.Length
	switch length {
	case wire.Chunked:
		length, err = c.in.SkipChunked()
	case wire.Unknown:
		head.Close = true
		length, err = c.in.SkipAll()
	default:
		err = c.in.Skip(length)
	}
	if err != nil {
		return false, fmt.Errorf("reading a response: %w", err)
	}
	if err := check(status, length, wantLength); err != nil {
		return false, err
	}
	return !head.Close, nil
}

// check says what is wrong with a response.
func check(status int, length, wantLength int64) error {
	if status != 200 {
		return fmt.Errorf("the status was %d", status)
	}
	if length != wantLength {
		return fmt.Errorf("the response had %d bytes instead of %d", length, wantLength)
	}
	return nil
}
