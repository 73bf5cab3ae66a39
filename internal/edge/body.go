package edge

import (
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/parachute-proxy/parachute/internal/http1"
)

// maxUnread is how many bytes of a body that its handler has left unread the server discards, so that the
// connection can be used for another request. net/http has the same bound.
const maxUnread = 256 << 10

// body is the body of a request. Reads and Close wait for each other, as they do with net/http:
// nobody else may read from the connection meanwhile.
type body struct {
	exchange *exchange
	// length is that of the body, or -1 if it is chunked.
	length int64
	chunks *http1.Chunks // nil if it has a length

	// mu guards what follows, and what the connection has read, until atEnd.
	mu sync.Mutex
	// left is what is left of a body with a length.
	left int64
	// atEnd says that it has been read to its end, with trailers.
	atEnd bool
	// err is what a read has failed with: no other one may follow.
	err    error
	closed bool
	// gaveUp says that the handler has left more than maxUnread.
	gaveUp bool
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return 0, http.ErrBodyReadAfterClose
	case b.atEnd:
		return 0, io.EOF
	case b.err != nil:
		return 0, b.err
	case len(p) == 0:
		return 0, nil
	}
	b.exchange.writeContinue()
	return b.read(p)
}

// read is Read for a body that has not ended. mu must be held.
func (b *body) read(p []byte) (n int, err error) {
	if b.chunks != nil {
		n, err = b.readChunk(p)
	} else {
		n, err = b.readLength(p)
	}
	switch {
	case err == io.EOF:
		b.atEnd = true
		b.exchange.ctx.bodyEnded()
	case err != nil:
		refusal := (*http1.Error)(nil)
		if !errors.As(err, &refusal) {
			b.exchange.ctx.end() // a client that sends nonsense is still there
		}
		if !isTimeout(err) { // after which a later read may succeed
			b.err = err
		}
	}
	return n, err
}

// readLength reads from a body with a length. The end comes with the last bytes.
func (b *body) readLength(p []byte) (n int, err error) {
	c := b.exchange.conn
	p = p[:min(int64(len(p)), b.left)]
	if c.r < c.w {
		n = copy(p, c.buf.in[c.r:c.w])
		c.r += n
	} else if n, err = c.nc.Read(p); n > 0 {
		err = nil
	}
	if b.left -= int64(n); b.left == 0 {
		return n, io.EOF
	}
	return n, unexpected(err)
}

// readChunk reads from a chunked body. If the end has arrived with the last bytes, and p has room
// for more, it is told with them.
func (b *body) readChunk(p []byte) (n int, err error) {
	c := b.exchange.conn
	for n < len(p) {
		if c.r == c.w {
			if n > 0 {
				return n, nil
			}
			if err := c.fill(); err != nil {
				return 0, unexpected(err)
			}
		}
		src := c.buf.in[c.r:c.w]
		data, used, err := b.chunks.Next(src[:min(len(src), len(p)-n)]) // so that data has room
		n += copy(p[n:], data)
		c.r += used
		switch {
		case err == io.EOF:
			b.takeTrailers()
			return n, io.EOF
		case err != nil && err != http1.ErrIncomplete:
			return n, err
		}
	}
	return n, nil
}

// takeTrailers gives the request the trailers that have come.
func (b *body) takeTrailers() {
	r := b.exchange.request
	for _, f := range b.chunks.Trailers {
		if r.Trailer == nil {
			r.Trailer = make(http.Header)
		}
		name := http1.CanonicalName(f.Name)
		r.Trailer[name] = append(r.Trailer[name], string(f.Value))
	}
}

// Close implements [io.Closer]: what is left is read, if that is little.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	// A client that waits to be told to go on may never send it.
	if !b.atEnd && b.err == nil && !(b.chunks == nil && b.exchange.request.Close) && !b.exchange.awaitsContinue {
		b.discard(maxUnread)
	}
	b.closed = true
	return nil
}

// discard reads up to max bytes and reports whether that was all. mu must be held.
func (b *body) discard(max int64) (all bool) {
	if b.left > max {
		b.gaveUp = true
		return false
	}
	buf := copyPool.Get().(*[32 << 10]byte)
	defer copyPool.Put(buf)
	for n := int64(0); n <= max; {
		m, err := b.read(buf[:])
		n += int64(m)
		if err != nil {
			return err == io.EOF
		}
	}
	b.gaveUp = true
	return false
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func isTimeout(err error) bool {
	timeout, ok := err.(interface{ Timeout() bool })
	return ok && timeout.Timeout()
}

// ended reports whether the body has been read to its end.
func (b *body) ended() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.atEnd
}

// takeAway ends reading from the body, also what is under way.
func (b *body) takeAway() {
	if !b.mu.TryLock() {
		_ = b.exchange.conn.nc.SetReadDeadline(longAgo)
		b.mu.Lock()
	}
	b.closed = true
	b.mu.Unlock()
}
