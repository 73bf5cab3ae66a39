//go:build !unix

package clientconn

// LentReader reads from a connection into a buffer that it borrows. Here it has to do that
// before it waits.
type LentReader struct {
	conn     *Conn
	lend     func() []byte
	giveBack func()
}

// NewLentReader returns a reader of c. It calls lend for a buffer, and giveBack if nothing has
// come into that.
func NewLentReader(c *Conn, lend func() []byte, giveBack func()) *LentReader {
	return &LentReader{c, lend, giveBack}
}

// Read waits until something has arrived, and returns its size. With an error, no buffer is
// borrowed.
func (r *LentReader) Read() (int, error) { return r.readPlainly() }
