package transport

import (
	"io"
	"net"
	"net/http"
	"sync"
)

// Switched is the body of a 101 answer: the connection, which speaks another
// protocol from here on and belongs to the caller.
type Switched struct {
	c        *conn
	buffered []byte
	once     sync.Once
}

// switchProtocols makes the connection the body of resp.
func (c *conn) switchProtocols(resp *http.Response, up *upload) error {
	if up != nil {
		return malformed("it switches protocols in the middle of a request")
	}
	c.ctx = nil
	if !c.watch.end() {
		return errInterrupted
	}
	if err := c.nc.SetDeadline(noDeadline); err != nil {
		return err
	}
	early := make([]byte, c.br.Buffered())
	_, _ = io.ReadFull(c.br, early) // cannot fail: this much has arrived
	c.returnReader()
	resp.Body = &Switched{c: c, buffered: early}
	return nil
}

// Read implements [io.Reader].
func (u *Switched) Read(p []byte) (int, error) {
	if len(u.buffered) > 0 {
		n := copy(p, u.buffered)
		u.buffered = u.buffered[n:]
		return n, nil
	}
	return u.c.nc.Read(p)
}

// Write implements [io.Writer].
func (u *Switched) Write(p []byte) (int, error) { return u.c.nc.Write(p) }

// Close closes the connection.
func (u *Switched) Close() error {
	u.once.Do(u.c.close)
	return nil
}

// NetConn returns the connection below, to wait for it or to set deadlines.
func (u *Switched) NetConn() net.Conn { return u.c.nc }

// Pending reports whether there is something to read that has already been read
// from the connection, because it came together with the answer.
func (u *Switched) Pending() bool { return len(u.buffered) > 0 }

var _ io.ReadWriteCloser = (*Switched)(nil)
