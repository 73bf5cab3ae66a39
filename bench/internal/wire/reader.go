// Package wire reads HTTP/1.1 messages off a connection with as little work as
// possible: the load generator and the upstream share a core with each other, and
// what they spend there cannot be spent on asking the proxy for more. It
// understands what the proxies under test send, not everything that RFC 9112
// allows.
package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Head is the start of a message.
type Head struct {
	// StartLine is the request or status line, without its end. It is valid until
	// the next call of the Reader.
	StartLine []byte
	// Length is the length of the body in bytes: -1 if it is chunked, -2 if
	// nothing says how long it is.
	Length int64
	// Close says that the sender will close the connection after the message.
	Close bool
	// WebSocketKey is the value of Sec-WebSocket-Key, if there is one. It is valid
	// until the next call of the Reader.
	WebSocketKey []byte
}

// Values of Head.Length that are no lengths.
const (
	Chunked = -1
	Unknown = -2
)

// Status returns the status code of a response, or 0 if it has none.
func (h Head) Status() int {
	// "HTTP/1.1 200 OK"
	if len(h.StartLine) < 12 || !bytes.HasPrefix(h.StartLine, []byte("HTTP/1.")) {
		return 0
	}
	status, err := strconv.Atoi(string(h.StartLine[9:12]))
	if err != nil {
		return 0
	}
	return status
}

// Target returns the path of a request, or nil.
func (h Head) Target() []byte {
	_, rest, _ := bytes.Cut(h.StartLine, []byte(" "))
	target, _, ok := bytes.Cut(rest, []byte(" "))
	if !ok {
		return nil
	}
	return target
}

// ErrHeadTooLong is returned for a head that does not fit the Reader's buffer.
var ErrHeadTooLong = errors.New("the head of the message is longer than the buffer")

// Reader reads messages one after the other.
type Reader struct {
	src        io.Reader
	buf        []byte
	start, end int // buf[start:end] has been received and not been used
}

// NewReader returns a Reader with a buffer of size bytes, which bounds the head
// of a message.
func NewReader(src io.Reader, size int) *Reader {
	return &Reader{src: src, buf: make([]byte, size)}
}

// Head reads the head of the next message. It returns io.EOF if the connection
// has ended before its first byte, and io.ErrUnexpectedEOF if it ends later.
func (r *Reader) Head() (Head, error) {
	searched := r.start
	for {
		if i := bytes.Index(r.buf[searched:r.end], []byte("\r\n\r\n")); i >= 0 {
			head := r.buf[r.start : searched+i+2]
			r.start = searched + i + 4
			return parseHead(head)
		}
		searched = max(r.start, r.end-3)
		moved, err := r.fill()
		searched -= moved
		if err != nil {
			if err == io.EOF && r.start < r.end {
				err = io.ErrUnexpectedEOF
			}
			return Head{}, err
		}
	}
}

// Skip reads n bytes of a body and forgets them.
func (r *Reader) Skip(n int64) error {
	for {
		have := int64(r.end - r.start)
		if have >= n {
			r.start += int(n)
			return nil
		}
		n -= have
		r.start, r.end = 0, 0
		if _, err := r.fill(); err != nil {
			return unexpected(err)
		}
	}
}

// SkipChunked reads a chunked body with its trailers and returns its length in
// bytes.
func (r *Reader) SkipChunked() (int64, error) {
	var total int64
	for {
		line, err := r.line()
		if err != nil {
			return total, err
		}
		digits, _, _ := bytes.Cut(line, []byte(";"))
		size, err := strconv.ParseInt(string(digits), 16, 64)
		if err != nil || size < 0 {
			return total, fmt.Errorf("reading a chunk: %q is no size", line)
		}
		if size == 0 {
			break
		}
		if err := r.Skip(size); err != nil {
			return total, err
		}
		total += size
		if line, err = r.line(); err != nil {
			return total, err
		}
		if len(line) != 0 {
			return total, fmt.Errorf("reading a chunk: %q where it should end", line)
		}
	}
	for { // trailers
		line, err := r.line()
		if err != nil || len(line) == 0 {
			return total, err
		}
	}
}

// SkipAll reads to the end of the connection and returns how many bytes that was.
func (r *Reader) SkipAll() (int64, error) {
	var total int64
	for {
		total += int64(r.end - r.start)
		r.start, r.end = 0, 0
		if _, err := r.fill(); err == io.EOF {
			return total, nil
		} else if err != nil {
			return total, err
		}
	}
}

// Read implements io.Reader, for what follows an upgrade.
func (r *Reader) Read(p []byte) (int, error) {
	if r.start < r.end {
		n := copy(p, r.buf[r.start:r.end])
		r.start += n
		return n, nil
	}
	return r.src.Read(p)
}

func (r *Reader) line() ([]byte, error) {
	for {
		if i := bytes.Index(r.buf[r.start:r.end], []byte("\r\n")); i >= 0 {
			line := r.buf[r.start : r.start+i]
			r.start += i + 2
			return line, nil
		}
		if _, err := r.fill(); err != nil {
			return nil, unexpected(err)
		}
	}
}

// fill receives more, and returns by how much what the buffer holds has moved
// towards its beginning.
func (r *Reader) fill() (moved int, err error) {
	switch {
	case r.start == r.end:
		moved = r.start
		r.start, r.end = 0, 0
	case r.end == len(r.buf):
		moved = r.start
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
		if r.end == len(r.buf) {
			return moved, ErrHeadTooLong
		}
	}
	n, err := r.src.Read(r.buf[r.end:])
	r.end += n
	if n > 0 {
		err = nil
	}
	return moved, err
}

// parseHead parses a head that ends with the line end of its last line.
func parseHead(head []byte) (Head, error) {
	line, rest, _ := bytes.Cut(head, []byte("\r\n"))
	h := Head{StartLine: line, Length: Unknown}
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return h, fmt.Errorf("reading a header: %q has no colon", line)
		}
		// Most headers are none of ours; their length tells without comparing.
		switch len(name) {
		case len("Content-Length"):
			if bytes.EqualFold(name, []byte("Content-Length")) {
				n, err := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
				if err != nil || n < 0 {
					return h, fmt.Errorf("reading a header: %q is no length", line)
				}
				h.Length = n
			}
		case len("Transfer-Encoding"): // as long as Sec-WebSocket-Key
			if bytes.EqualFold(name, []byte("Transfer-Encoding")) {
				h.Length = Chunked
			} else if bytes.EqualFold(name, []byte("Sec-WebSocket-Key")) {
				h.WebSocketKey = bytes.TrimSpace(value)
			}
		case len("Connection"):
			if bytes.EqualFold(name, []byte("Connection")) {
				h.Close = bytes.EqualFold(bytes.TrimSpace(value), []byte("close"))
			}
		}
	}
	return h, nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
