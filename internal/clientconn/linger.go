package clientconn

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// A request may be answered before all of it has been read. What is left of it stands in
// the way of the next one, so the connection mostly ends. But a socket that is closed
// when bytes have come that nobody has read resets the connection, and so it does when
// more come later: the client would perhaps see that instead of its answer (RFC 9112,
// section 9.6). net/http's server knows, but waits for half a second at most, and not
// for all requests.

const (
	// lingerRead is how long the server may read the rest of a request, so that the
	// connection can be used for the next one. Bytes that have arrived are there at
	// once; the server must not wait for a client that stalls.
	lingerRead = 50 * time.Millisecond
	// lingerTimeout is how long a client may send on after the connection has ended.
	lingerTimeout = 5 * time.Second
)

// body is the body of a request over HTTP/1.
type body struct {
	io.ReadCloser
	ended atomic.Bool
}

// Read implements [io.Reader]. The server tells the end of a body with its last bytes if
// it has a length.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.ended.Store(true)
	}
	return n, err
}

// beginBody watches how much of the body of r is read, if it has one. Else it returns nil.
func (c *Conn) beginBody(r *http.Request) *body {
	if c.lingers.Load() {
		c.lingers.Store(false) // the server has found the end of the request before this one
	}
	if r.ContentLength == 0 {
		return nil
	}
	body := &body{ReadCloser: r.Body}
	r.Body = body
	return body
}

// endBody is called when a request with a body has been served.
func (c *Conn) endBody(body *body) {
	if body.ended.Load() {
		return
	}
	c.mu.Lock()
	taken := c.exact
	c.mu.Unlock()
	if !taken {
		c.lingers.Store(true)
		_ = c.SetReadDeadline(time.Now().Add(lingerRead))
	}
}

// Close implements [net.Conn]. If the client may still be sending, Close ends our side
// and leaves the rest to a goroutine, which the end of the process does not wait for.
func (c *Conn) Close() error {
	if !c.lingers.Swap(false) || c.CloseWrite() != nil {
		return c.TCPConn.Close()
	}
	go func() {
		defer c.TCPConn.Close()
		_ = c.TCPConn.SetReadDeadline(time.Now().Add(lingerTimeout))
		_, _ = io.Copy(io.Discard, c.TCPConn)
	}()
	return nil
}
