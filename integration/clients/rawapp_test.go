package clients

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// rawApp is an application that a test plays by hand.
type rawApp struct {
	addr string
	// conns counts the connections that brought a request.
	conns atomic.Int64
}

// startRawApp starts an application that hands every connection to serve, which
// runs in a goroutine of its own. Connections of health checks are answered here.
func startRawApp(t *testing.T, serve func(c *rawConn)) *rawApp {
	t.Helper()
	a := new(rawApp)
	a.addr = listen(t, func(conn net.Conn) {
		defer conn.Close()
		c := &rawConn{Conn: conn, in: bufio.NewReader(conn)}
		first, err := c.in.Peek(len("GET /up "))
		switch {
		case err != nil:
		case string(first) == "GET /up ":
			if _, err := c.next(); err == nil {
				c.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			}
		default:
			c.number = a.conns.Add(1)
			serve(c)
		}
	}).Addr().String()
	return a
}

// listen hands every connection to serve, in a goroutine of its own. They are closed
// when the test ends.
func listen(t *testing.T, serve func(conn net.Conn)) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			_ = conn.SetDeadline(time.Now().Add(2 * patience))
			go serve(conn)
		}
	}()
	return l
}

// rawConn is the application's side of a connection.
type rawConn struct {
	net.Conn
	in *bufio.Reader
	// number counts the connections of the application, from 1.
	number int64
}

func (c *rawConn) write(s string) { _, _ = io.WriteString(c, s) }

// closeWrite ends what is sent; the other direction stays open.
func (c *rawConn) closeWrite() { _ = c.Conn.(*net.TCPConn).CloseWrite() }

// reset closes the connection with a RST.
func (c *rawConn) reset() {
	_ = c.Conn.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// unread returns how many bytes have arrived that nobody has read.
func (c *rawConn) unread() (n int) {
	raw, err := c.Conn.(*net.TCPConn).SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	}
	return n + c.in.Buffered()
}

// rawRequest is a request as its bytes are.
type rawRequest struct {
	line    string
	headers []string
	body    string
	// trailers are the lines behind the last chunk.
	trailers []string
}

// path is the request target up to its query.
func (r *rawRequest) path() string {
	target := strings.Fields(r.line + " ? ?")[1]
	path, _, _ := strings.Cut(target, "?")
	return path
}

func (r *rawRequest) header(name string) (values []string) {
	for _, line := range r.headers {
		if n, v, _ := strings.Cut(line, ":"); strings.EqualFold(n, name) {
			values = append(values, strings.TrimSpace(v))
		}
	}
	return values
}

// next reads a request and accepts nothing that two readers could read in two ways
// (RFC 9112). The error is io.EOF between two requests.
func (c *rawConn) next() (*rawRequest, error) {
	r, err := c.nextHead()
	if err != nil {
		return nil, err
	}
	lengths, codings := r.header("Content-Length"), r.header("Transfer-Encoding")
	switch {
	case len(r.header("Host")) != 1:
		return nil, fmt.Errorf("ambiguous: %d Host headers in %q", len(r.header("Host")), r.line)
	case len(lengths)+len(codings) > 1:
		return nil, fmt.Errorf("ambiguous: Content-Length %q and Transfer-Encoding %q", lengths, codings)
	case len(codings) == 1 && codings[0] != "chunked":
		return nil, fmt.Errorf("ambiguous: Transfer-Encoding %q", codings)
	case len(codings) == 1:
		return r, c.chunks(r)
	case len(lengths) == 1:
		n, err := strconv.ParseUint(lengths[0], 10, 40)
		if err != nil || strings.ContainsAny(lengths[0], "+ ") {
			return nil, fmt.Errorf("ambiguous: Content-Length %q", lengths[0])
		}
		body := make([]byte, n)
		_, err = io.ReadFull(c.in, body)
		r.body = string(body)
		return r, err
	}
	return r, nil
}

// nextHead reads a request up to the empty line and leaves its body alone.
func (c *rawConn) nextHead() (*rawRequest, error) {
	lines, err := c.lines()
	if err != nil {
		return nil, err
	}
	if len(lines) == 0 {
		return nil, fmt.Errorf("ambiguous: an empty line before a request")
	}
	if len(strings.Split(lines[0], " ")) != 3 {
		return nil, fmt.Errorf("ambiguous: request line %q", lines[0])
	}
	return &rawRequest{line: lines[0], headers: lines[1:]}, nil
}

// lines reads up to the empty line.
func (c *rawConn) lines() (lines []string, err error) {
	for {
		line, err := c.line()
		switch {
		case err == io.EOF && len(lines) > 0:
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		case line == "":
			return lines, nil
		case len(lines) > 0 && (line[0] == ' ' || line[0] == '\t'):
			return nil, fmt.Errorf("ambiguous: folded line %q", line)
		case len(lines) > 0 && (!strings.Contains(line, ":") || strings.Contains(line, " :")):
			return nil, fmt.Errorf("ambiguous: header line %q", line)
		}
		lines = append(lines, line)
	}
}

func (c *rawConn) line() (string, error) {
	line, err := c.in.ReadString('\n')
	if err == io.EOF && line != "" {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return "", err
	}
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok || strings.ContainsAny(text, "\r\n\x00") {
		return "", fmt.Errorf("ambiguous: line %q", line)
	}
	return text, nil
}

func (c *rawConn) chunks(r *rawRequest) error {
	for {
		size, err := c.line()
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(size, 16, 40)
		if err != nil {
			return fmt.Errorf("ambiguous: chunk size %q", size)
		}
		if n == 0 {
			r.trailers, err = c.lines()
			return err
		}
		chunk := make([]byte, n)
		if _, err := io.ReadFull(c.in, chunk); err != nil {
			return err
		}
		r.body += string(chunk)
		if end, err := c.line(); err != nil || end != "" {
			return fmt.Errorf("ambiguous: chunk without an end: %q, %w", end, err)
		}
	}
}

// ok is an answer with a length.
func ok(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// serveRaw answers requests until the connection ends.
func serveRaw(answer func(r *rawRequest) string) func(*rawConn) {
	return func(c *rawConn) {
		for {
			r, err := c.next()
			if err != nil {
				return
			}
			c.write(answer(r))
		}
	}
}
