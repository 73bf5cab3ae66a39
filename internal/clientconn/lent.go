package clientconn

import (
	"errors"
	"os"
)

// A server of ours reads from a Conn by these, in place of net/http's.

// Unread has the next reads return p, which has been read already. It is for a server that hands
// the connection over to another one, and may not be called while anybody reads.
func (c *Conn) Unread(p []byte) { c.unread = append([]byte(nil), p...) }

// ServerTells says that the context of each request ends when the client goes away, also of one
// that takes long, so that nobody else has to watch the connection. It is to be called before the
// first request.
func (c *Conn) ServerTells() { c.serverTells = true }

// Linger has Close wait for what the client may still be sending (linger.go).
func (c *Conn) Linger() { c.lingers.Store(true) }

// isEarly reports whether err is of a deadline of the socket that was too early, and has been
// moved to where it has to be.
func (c *Conn) isEarly(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) && !c.late() }

// readPlainly reads with a buffer that is borrowed before the wait.
func (r *LentReader) readPlainly() (int, error) {
	n, err := r.conn.Read(r.lend())
	if n > 0 {
		return n, nil
	}
	r.giveBack()
	return 0, err
}
