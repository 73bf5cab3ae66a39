//go:build unix

package clientconn

import (
	"io"
	"syscall"

	"github.com/parachute-proxy/parachute/internal/sockio"
)

// LentReader reads from a connection into a buffer that it borrows when something has arrived:
// one that is idle holds none.
type LentReader struct {
	conn     *Conn
	lend     func() []byte
	giveBack func()

	// attempt is tryRead, which is made once, and n and err are its results.
	attempt func(fd uintptr) bool
	n       int
	err     error
}

// NewLentReader returns a reader of c. It calls lend for a buffer, and giveBack if nothing has
// come into that.
func NewLentReader(c *Conn, lend func() []byte, giveBack func()) *LentReader {
	r := &LentReader{conn: c, lend: lend, giveBack: giveBack}
	r.attempt = r.tryRead
	return r
}

// Read waits until something has arrived, and reads it into a buffer that is borrowed then. It
// returns the size. With an error, no buffer is borrowed.
func (r *LentReader) Read() (int, error) {
	if r.conn.raw == nil || r.conn.unread != nil {
		return r.readPlainly()
	}
	for {
		r.n, r.err = 0, nil
		err := r.conn.raw.Read(r.attempt)
		if err == nil {
			return r.n, r.err
		}
		if !r.conn.isEarly(err) {
			return 0, err
		}
	}
}

func (r *LentReader) tryRead(fd uintptr) bool {
	buf := r.lend()
	r.n, r.err = sockio.TryRead(int(fd), buf)
	if r.n > 0 {
		r.err = nil
		return true
	}
	r.giveBack()
	r.n = 0
	switch r.err {
	case syscall.EAGAIN:
		return false
	case nil:
		r.err = io.EOF
	}
	return true
}
