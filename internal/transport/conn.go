package transport

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// conn is a connection to the target. It belongs to one exchange or to the pool.
type conn struct {
	t  *Transport
	nc net.Conn
	// br reads from the conn itself. It is lent for an exchange.
	br     *bufio.Reader
	socket socket
	watch  watch

	idleSince time.Time
	// uses counts exchanges.
	uses int
	// ctx is the context of the exchange; nil while that is passed through.
	ctx context.Context
	// broken is what reads fail with that resume what has failed.
	broken error
	// onWait, if not nil, is called when a read has to wait: at once if eager is
	// set, else when that takes long.
	onWait func()
	eager  bool
}

func newConn(t *Transport, nc net.Conn) *conn {
	c := &conn{t: t, nc: nc}
	c.socket.init(nc)
	c.watch.nc = nc
	return c
}

const readerSize = 16 << 10

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, readerSize) }}

// returnReader ends the use of br.
func (c *conn) returnReader() {
	if c.br != nil && c.br.Size() == readerSize {
		c.br.Reset(nil)
		readers.Put(c.br)
	}
	c.br = nil
}

// close closes the connection for good. It ends an exchange that is under way.
func (c *conn) close() {
	c.watch.end()
	c.returnReader()
	_ = c.nc.Close()
	c.t.open.Add(-1)
}

// roundTrip sends out and returns the answer. After an error the connection has to
// be closed.
func (c *conn) roundTrip(ctx context.Context, out *outgoing, now time.Time) (*http.Response, error) {
	c.ctx = ctx
	c.uses++
	c.br = readers.Get().(*bufio.Reader)
	c.br.Reset(c)
	if out.body != nil {
		if err := out.readAhead(); err != nil {
			return nil, err
		}
		// The client took its time, in which the exchange may have come to its end.
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		now = time.Now()
	}
	c.watch.begin(now, c.t.ResponseHeaderTimeout)
	var up *upload
	if out.body == nil {
		c.socket.request, c.socket.wrote = out.head, false
	} else {
		var err error
		if up, err = c.startUpload(out); err != nil {
			return nil, err
		}
	}
	resp, err := c.readAnswer(out, up)
	switch {
	case err == nil:
		return resp, nil // without a body, the connection may be another's by now
	case up == nil:
		out.written = out.written || c.socket.wrote
	default:
		up.answered() // a body that waits to be asked for is not read later
		err = up.explain(err)
	}
	return resp, err
}

// readAnswer reads the final answer as far as its body.
func (c *conn) readAnswer(out *outgoing, up *upload) (*http.Response, error) {
	for informational := 0; ; informational++ {
		head, lines, err := c.readHead()
		if err != nil {
			switch {
			case !errors.Is(err, ErrClosed):
			case informational > 0:
				err = io.ErrUnexpectedEOF // the answer had begun
			case c.uses > 1 && !out.written && !c.socket.wrote:
				c.t.foundClosed()
			}
			return nil, err
		}
		resp, err := parseAnswer(head, lines, out.req)
		if err != nil {
			return nil, err
		}
		switch {
		case resp.StatusCode < 200 && informational == maxInformational:
			return nil, malformed("it has more than %d informational answers before it", maxInformational)
		case resp.StatusCode == http.StatusSwitchingProtocols:
			if _, _, _, err := frame(resp); err != nil { // the client could read what we do not
				return nil, err
			}
			return resp, c.switchProtocols(resp, up)
		case resp.StatusCode >= 200:
			up.answered()
			c.watch.answerBegan()
			return resp, c.attachBody(resp, up)
		default:
			if resp.StatusCode == http.StatusContinue {
				up.proceed()
			}
			if tell, ok := c.ctx.Value(InformationalKey).(InformationalFunc); ok {
				if err := tell(resp.StatusCode, resp.Header); err != nil {
					return nil, err
				}
			}
		}
	}
}

// maxInformational bounds the informational answers to one request. Ten are not
// unheard of.
const maxInformational = 1000

// Read reads from the target. If a request waits to be written, it writes that
// first. It is for br.
func (c *conn) Read(p []byte) (int, error) {
	mayWait := c.onWait == nil || !c.eager && c.watch.unhook == nil
	for c.broken == nil {
		n, err := c.socket.read(p, mayWait)
		switch {
		case n > 0:
			return n, nil
		case err == errWouldWait:
			c.onWait()
			mayWait = true
		case c.ctx == nil && (err == errUnwritten || errors.Is(err, os.ErrDeadlineExceeded)):
			return 0, errLost
		case err == errUnwritten:
			if err := c.writeRest(); err != nil {
				return 0, err
			}
		case errors.Is(err, os.ErrDeadlineExceeded):
			if err := c.watch.losePatience(c.ctx); err != nil {
				return 0, err
			}
			if c.onWait != nil {
				c.onWait()
			}
		default:
			return 0, err
		}
	}
	return 0, c.broken
}

// writeRest writes what the target has not taken at once of a request without a body.
func (c *conn) writeRest() error {
	c.watch.arm(c.ctx)
	request := c.socket.request
	c.socket.request, c.socket.wrote = nil, true
	return c.write(c.ctx, request)
}

// write writes to the target, which may not stop taking it for longer than its
// answer may take.
func (c *conn) write(ctx context.Context, p []byte) error {
	for len(p) > 0 {
		c.watch.takeWithin(c.t.ResponseHeaderTimeout)
		n, err := c.nc.Write(p)
		p = p[n:]
		switch {
		case err == nil || n > 0 && errors.Is(err, os.ErrDeadlineExceeded):
		case context.Cause(ctx) != nil:
			return context.Cause(ctx)
		case errors.Is(err, os.ErrDeadlineExceeded):
			return errSlowReader
		default:
			return ErrClosed
		}
	}
	return nil
}

// readHead reads the head of an answer and returns it with the number of its
// lines.
func (c *conn) readHead() (string, int, error) {
	for seen := 0; ; {
		b, err := c.br.Peek(max(seen+1, c.br.Buffered()))
		if errors.Is(err, bufio.ErrBufferFull) {
			if c.br.Size() >= maxHead {
				return "", 0, malformed("its head has more than %d bytes", maxHead)
			}
			// Not a reader of c.br, which would read ahead where nobody looks for it.
			size, sofar := 4*c.br.Size(), bytes.NewReader(bytes.Clone(b))
			c.returnReader()
			c.br = bufio.NewReaderSize(io.MultiReader(sofar, c), size)
			continue
		}
		if err != nil && (len(b) == 0 || looksLikeHTTP(b)) {
			return "", 0, c.noHead(len(b), err)
		}
		if !looksLikeHTTP(b) {
			b, _ = c.br.Peek(c.br.Buffered())
			return "", 0, malformed("it begins with %.32q", b)
		}
		end, lines, err := scanHead(b)
		if err != nil {
			return "", 0, err
		}
		if end > 0 {
			head := string(b[:end])
			_, _ = c.br.Discard(end)
			return head, lines, nil
		}
		seen = len(b)
	}
}

// looksLikeHTTP reports whether b can be the beginning of an answer.
func looksLikeHTTP(b []byte) bool {
	const version = "HTTP/1."
	n := min(len(b), len(version))
	return string(b[:n]) == version[:n]
}

// noHead says why there was no head, or only n bytes of one.
func (c *conn) noHead(n int, err error) error {
	switch {
	case context.Cause(c.ctx) != nil:
		return context.Cause(c.ctx)
	case n > 0 && err == io.EOF:
		return io.ErrUnexpectedEOF
	case n == 0 && (err == io.EOF || isReset(err)):
		return ErrClosed
	}
	return err
}
