package forward

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/parachute-proxy/parachute/internal/spool"
)

// takeAnswer applies to an answer what the service wants of its size, and reads it to its end if
// that is to be before the client gets any of it. Nothing has been written to the client if it
// fails.
func (x *exchange) takeAnswer(resp *http.Response) error {
	o := &x.release.Spec.Options
	if o.MaxResponseBody == 0 && !o.BufferResponses || resp.Body == http.NoBody || x.in.Method == http.MethodHead || resp.StatusCode == http.StatusNotModified || endless(resp) {
		return nil
	}
	most := int64(o.MaxResponseBody)
	switch {
	case most > 0 && resp.ContentLength > most:
		_ = resp.Body.Close()
		return ErrLargeAnswer
	case most > 0 && resp.ContentLength < 0:
		resp.Body = &limitedAnswer{resp.Body, most}
	case o.BufferResponses && resp.ContentLength > 0 && !wantsLive(resp):
		return x.bufferAnswer(resp)
	}
	return nil
}

// endless reports whether an answer is a stream, which has no size.
func endless(resp *http.Response) bool { return isEventStream(resp) || isGRPC(resp.Header) }

// wantsLive reports whether the target wants an answer to be passed on as it comes. The field is
// nginx's, and frameworks set it where they stream.
func wantsLive(resp *http.Response) bool {
	return strings.EqualFold(resp.Header.Get("X-Accel-Buffering"), "no")
}

// limitedAnswer is the body of an answer without a length that fails behind the bytes that are
// left.
type limitedAnswer struct {
	io.ReadCloser
	left int64
}

func (l *limitedAnswer) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if int64(n) > l.left {
		return int(l.left), ErrLargeAnswer
	}
	l.left -= int64(n)
	return n, err
}

// bufferAnswer reads the body of an answer to its end, so that the target is done with it however
// slow the client is. If there is no room for all of it, the rest is passed on as it comes.
func (x *exchange) bufferAnswer(resp *http.Response) error {
	kept := x.release.forwarder.spools.New(int64(x.release.Spec.Options.BufferMemory))
	buf := copyBuffers.Get().(*[copyBufferSize]byte)
	defer copyBuffers.Put(buf)
	for {
		n, err := resp.Body.Read(buf[:])
		if _, full := kept.Write(buf[:n]); full != nil {
			rest := []io.Reader{kept.Reader(), bytes.NewReader(bytes.Clone(buf[:n]))}
			if err == nil {
				rest = append(rest, resp.Body)
			} else {
				rest = append(rest, errorReader{err})
			}
			resp.Body = &bufferedAnswer{x, io.MultiReader(rest...), kept, resp.Body}
			return nil
		}
		switch {
		case err == io.EOF:
			resp.Body = &bufferedAnswer{x, kept.Reader(), kept, resp.Body}
			return nil
		case err != nil:
			_ = kept.Close()
			_ = resp.Body.Close()
			return x.classify(err)
		}
	}
}

// bufferedAnswer is the body of an answer of which at least the beginning has been read before.
type bufferedAnswer struct {
	x    *exchange
	from io.Reader
	kept *spool.Spool
	rest io.Closer
}

// Read ends with a cut, as does that of an answer that comes from a target.
func (b *bufferedAnswer) Read(p []byte) (int, error) {
	if err := b.x.Err(); err != nil {
		return 0, err
	}
	return b.from.Read(p)
}

// Close implements [io.Closer].
func (b *bufferedAnswer) Close() error { return errors.Join(b.kept.Close(), b.rest.Close()) }
