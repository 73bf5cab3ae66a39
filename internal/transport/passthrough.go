package transport

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/parachute-proxy/parachute/internal/http1"
)

// PassedThrough is an exchange in which the target gets a head as it is given, and the answer is taken as it
// was sent. It can be used again when it is over.
type PassedThrough struct {
	// Head is the answer's, if it has come whole and can be passed on as it was sent, and Body what belongs to
	// it, with the chunks that it was sent in. They are valid until End. Size is that of the content.
	Head http1.Response
	Body []byte
	Size int

	c      *conn
	chunks http1.Chunks
	// size is that of the head.
	size int
}

// errLost says that the target has kept an exchange waiting for longer than is waited without a look at its
// context.
var errLost = errors.New("patience is lost")

// PassThrough sends a head, of a GET or HEAD without a body, on a pooled connection, and waits for the answer
// for a moment. It returns sent as false if there is no such connection: nothing has happened then. If it
// returns whole as false, the answer did not come, has not come yet, or cannot be passed on as it was sent:
// the exchange goes on with [Transport.Resume], until when head must not be changed. Otherwise it ends with
// [PassedThrough.End].
func (t *Transport) PassThrough(p *PassedThrough, head []byte, noBody bool, now time.Time) (sent, whole bool) {
	c := t.pool.take(now, t.idleTimeout())
	if c == nil {
		return false, false
	}
	p.c = c
	c.uses++
	c.br = readers.Get().(*bufio.Reader)
	c.br.Reset(c)
	c.watch.begin(now, t.ResponseHeaderTimeout)
	c.socket.request, c.socket.wrote = head, false
	c.ctx = nil // nobody looks at it as long as it is there for a moment only
	return true, p.read(noBody)
}

// read reads an answer and reports whether it is there as a whole.
func (p *PassedThrough) read(noBody bool) bool {
	br := p.c.br
	need := 1
	for {
		b, err := br.Peek(max(need, br.Buffered()))
		if err != nil {
			if err != errLost && !errors.Is(err, bufio.ErrBufferFull) {
				p.c.broken = err
			}
			return false
		}
		size, ok := p.Head.Parse(b)
		switch {
		case !ok:
			return false
		case size == 0:
			need = len(b) + 1
			continue
		}
		end := size
		switch status := p.Head.Status; {
		case noBody || status == http.StatusNoContent || status == http.StatusNotModified:
			if p.Head.Chunked {
				return false
			}
			p.Size = 0
		case p.Head.Chunked:
			// It may be made bit by bit, for a client that sees it grow: what is not there is not waited for.
			n, ok := p.readChunks(b[size:])
			if !ok {
				return false
			}
			end += n
		case p.Head.ContentLength < 0 || p.Head.ContentLength > int64(br.Size()-size):
			return false // its end is that of the connection, or it is large
		default:
			p.Size = int(p.Head.ContentLength)
			end += p.Size
		}
		if len(b) >= end {
			p.size, p.Body = size, b[size:end]
			return true
		}
		if p.wantsLive() {
			return false
		}
		need = end
	}
}

// readChunks reads a chunked body that is there as a whole, and returns its size.
func (p *PassedThrough) readChunks(b []byte) (size int, ok bool) {
	p.chunks.Reset()
	for p.Size = 0; ; {
		data, n, err := p.chunks.Next(b[size:])
		p.Size += len(data)
		size += n
		switch err {
		case nil:
		case io.EOF:
			return size, p.chunks.Plain()
		default:
			return 0, false
		}
	}
}

// wantsLive reports whether the answer, which has a length, is to be passed on as it comes, as [Body.OnWait]
// has it be.
func (p *PassedThrough) wantsLive() bool {
	for _, f := range p.Head.Fields {
		if bytes.EqualFold(f.Name, []byte("X-Accel-Buffering")) || bytes.HasPrefix(bytes.ToLower(f.Value), []byte("text/event-stream")) {
			return true
		}
	}
	return false
}

// End ends the exchange, whose answer has been taken.
func (p *PassedThrough) End() {
	c := p.c
	_, _ = c.br.Discard(p.size + len(p.Body))
	p.c, p.Body = nil, nil
	if fit := c.watch.end(); !fit || p.Head.Close || c.br.Buffered() > 0 {
		c.close()
		return
	}
	c.returnReader()
	c.t.recycle(c)
}

// Heed takes into account what the target says with a Keep-Alive field.
func (p *PassedThrough) Heed(keepAlive string) { p.c.t.heed(keepAlive) }

// Resume is [Transport.RoundTrip] for a request that PassThrough has sent.
func (t *Transport) Resume(req *http.Request, p *PassedThrough) (*http.Response, error) {
	out, err := newOutgoing(req)
	if err != nil {
		p.c.close()
		return nil, fmt.Errorf("%w: %w", ErrInvalidRequest, err)
	}
	defer out.release()
	return t.exchange(req, out, p.c)
}

// resume goes on with an exchange that PassThrough has begun.
func (c *conn) resume(out *outgoing) (*http.Response, error) {
	if c.broken == nil && len(c.socket.request) > 0 {
		if err := c.writeRest(); err != nil {
			return nil, err
		}
	}
	resp, err := c.readAnswer(out, nil)
	if err != nil {
		out.written = out.written || c.socket.wrote
	}
	return resp, err
}
