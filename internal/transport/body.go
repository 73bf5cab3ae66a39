package transport

import (
	"context"
	"io"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"

	"golang.org/x/net/http/httpguts"

	"github.com/parachute-proxy/parachute/internal/descriptors"
)

// Body is the body of an answer. It reads straight from the connection, which it
// gives back, if the connection is fit for another request, when it has been read
// to its end.
type Body struct {
	c    *conn // nil once the body is over
	resp *http.Response
	up   *upload
	// keep says that the connection may be used again.
	keep    bool
	framing framing
	// left is what is left of a body with a length.
	left   int64
	chunks io.Reader
	err    error // what Read returns once the body is over
}

// attachBody gives resp its body.
func (c *conn) attachBody(resp *http.Response, up *upload) error {
	framing, length, unsure, err := frame(resp)
	if err != nil {
		return err
	}
	if hint := resp.Header.Get("Keep-Alive"); hint != "" {
		c.t.heed(hint)
	}
	b := &Body{
		c: c, resp: resp, up: up, framing: framing, left: length,
		keep: resp.ProtoMinor == 1 && framing != byClose && !unsure && !httpguts.HeaderValuesContainsToken(resp.Header["Connection"], "close"),
	}
	resp.ContentLength, resp.Body = length, b
	switch framing {
	case noBody:
		resp.Body = http.NoBody
		b.finish()
	case byChunks:
		resp.TransferEncoding = []string{"chunked"}
		resp.Trailer = announcedTrailers(resp.Header)
		b.chunks = httputil.NewChunkedReader(c.br)
	}
	resp.Close = !b.keep
	return nil
}

// OnWait makes the body call f, in the goroutine that reads, whenever a read has to
// wait for the target: at once if eager, else when that takes more than a moment.
// It is the time to flush what was read before.
func (b *Body) OnWait(f func(), eager bool) {
	if b.c != nil {
		b.c.onWait, b.c.eager = f, eager
	}
}

// Read implements [io.Reader]. The error is [io.EOF] only if the body was complete.
func (b *Body) Read(p []byte) (int, error) {
	if b.c == nil || len(p) == 0 {
		return 0, b.err
	}
	var n int
	var err error
	switch b.framing {
	case byLength:
		n, err = b.c.br.Read(p[:min(int64(len(p)), b.left)])
		if b.left -= int64(n); b.left == 0 {
			err = io.EOF
		} else if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
	case byChunks:
		if n, err = b.chunks.Read(p); err == io.EOF {
			err = b.readTrailer()
		}
	default:
		n, err = b.c.br.Read(p)
	}
	if err != nil {
		b.end(err)
	}
	return n, b.err
}

// spliceFrom is the length from which it pays to have the system move a body.
const spliceFrom = 64 << 10

const copyBufferSize = 32 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copyBufferSize]byte) }}

// WriteTo implements [io.WriterTo]. What has been read from the connection is
// written without another copy. The rest of a long body is handed to w as a
// connection, if w can read from one: then the system can move it by itself.
func (b *Body) WriteTo(w io.Writer) (written int64, err error) {
	for b.c != nil && b.framing == byLength && err == nil {
		if b.c.br.Buffered() == 0 {
			if b.left >= spliceFrom && !b.c.eager {
				rf, ok := w.(io.ReaderFrom)
				if !ok || descriptors.Scarce() { // it takes a pipe
					break
				}
				n, err := b.readFrom(rf)
				return written + n, err
			}
			if _, err := b.c.br.Peek(1); err != nil {
				b.end(unexpected(err))
				return written, b.err
			}
		}
		ready, _ := b.c.br.Peek(int(min(int64(b.c.br.Buffered()), b.left)))
		var n int
		n, err = w.Write(ready)
		written += int64(n)
		_, _ = b.c.br.Discard(n)
		if b.left -= int64(n); b.left == 0 {
			b.finish()
		}
	}
	if b.c == nil || err != nil {
		return written, err
	}
	buf := copyBuffers.Get().(*[copyBufferSize]byte)
	defer copyBuffers.Put(buf)
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{b}, buf[:])
	return written + n, err
}

// readFrom hands the rest of the body to rf.
func (b *Body) readFrom(rf io.ReaderFrom) (int64, error) {
	b.c.watch.arm(b.c.ctx) // there is no losing patience in there
	n, err := rf.ReadFrom(&io.LimitedReader{R: b.c.nc, N: b.left})
	b.left -= n
	switch {
	case err == nil && b.left == 0:
		b.finish()
		return n, nil
	case err == nil:
		err = io.ErrUnexpectedEOF
	}
	b.end(unexpected(err)) // a client may have any error
	return n, b.err
}

// Close implements [io.Closer]. A body that has not been read to its end costs the
// connection.
func (b *Body) Close() error {
	if b.c != nil {
		b.err = http.ErrBodyReadAfterClose
		c := b.c
		b.c = nil
		c.close()
	}
	return nil
}

// end ends the body with err, which is [io.EOF] if it was complete.
func (b *Body) end(err error) {
	b.err = err
	if err == io.EOF {
		b.finish()
		return
	}
	c := b.c
	b.c = nil
	if cause := context.Cause(c.ctx); cause != nil {
		b.err = cause
	}
	c.close()
}

// finish gives the connection back, or closes it if anything about it is uncertain.
func (b *Body) finish() {
	c := b.c
	b.c, b.err = nil, io.EOF
	c.ctx, c.onWait = nil, nil
	complete := b.up.complete()
	// end comes first: it has to be called in any case.
	if fit := c.watch.end(); !fit || !complete || !b.keep || c.br.Buffered() > 0 {
		c.close()
		return
	}
	c.returnReader()
	c.t.recycle(c)
}

// readTrailer reads the trailer section. It returns io.EOF if that went well.
func (b *Body) readTrailer() error {
	var section strings.Builder
	lines := 0
	for {
		line, err := b.c.br.ReadSlice('\n')
		if err != nil {
			return unexpected(err)
		}
		section.Write(line)
		if len(line) < 2 || line[len(line)-2] != '\r' || section.Len() > maxHead {
			return malformed("its trailer section is too long, or has a line that does not end in CR LF")
		}
		if len(line) == 2 {
			break
		}
		lines++
	}
	if lines == 0 {
		return io.EOF
	}
	trailer, err := parseFields(section.String(), lines)
	if err != nil {
		return err
	}
	if b.resp.Trailer == nil {
		b.resp.Trailer = make(http.Header, len(trailer))
	}
	for name, values := range trailer {
		if httpguts.ValidTrailerHeader(name) {
			b.resp.Trailer[name] = values
		}
	}
	return io.EOF
}

// announcedTrailers returns the names in the Trailer header, without values.
func announcedTrailers(h http.Header) http.Header {
	var trailer http.Header
	for _, list := range h["Trailer"] {
		for name := range strings.SplitSeq(list, ",") {
			name = http.CanonicalHeaderKey(trim(name))
			if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidTrailerHeader(name) {
				continue
			}
			if trailer == nil {
				trailer = make(http.Header)
			}
			trailer[name] = nil
		}
	}
	return trailer
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

var _ io.WriterTo = (*Body)(nil)
