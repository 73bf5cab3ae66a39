package transport

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/net/http/httpguts"
)

// outgoing is a request on its way to the target.
type outgoing struct {
	req *http.Request
	// head is the request line and the header and, when it was at hand, the
	// beginning of the body. It is in a buffer that is lent.
	head []byte
	lent *[]byte
	// body is what head does not have of the body; nil if there is nothing more.
	body io.Reader
	// length is the length of that, or -1 if the end of the body tells.
	length int64
	// expectContinue says that the client waits to be asked for the body.
	expectContinue bool

	// written says that a byte of the request may have reached the target.
	written bool
	// bodyRead says that a part of the body has been read: what head has behind bodyAt.
	bodyRead bool
	bodyAt   int
	// uploading says that the body belongs to an upload, which closes it.
	uploading bool
}

const (
	headSize = 4 << 10
	// maxPooledHead keeps a rare giant from staying.
	maxPooledHead = 16 * headSize
)

var headPool = sync.Pool{New: func() any {
	b := make([]byte, 0, headSize)
	return &b
}}

// newOutgoing writes the head of req.
func newOutgoing(req *http.Request) (*outgoing, error) {
	out := &outgoing{req: req, length: req.ContentLength}
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		out.length = 0
	case out.length == 0: // as net/http has it, 0 with a body means unknown
		out.length = -1
		out.body = req.Body
	default:
		out.body = req.Body
	}
	out.lent = headPool.Get().(*[]byte)
	var err error
	if out.head, err = appendHead((*out.lent)[:0], req, out); err != nil {
		out.release()
		return nil, err
	}
	return out, nil
}

// release gives the buffer back. The request must not be written any more.
func (o *outgoing) release() {
	if cap(o.head) <= maxPooledHead {
		*o.lent = o.head
		headPool.Put(o.lent)
	}
	o.head, o.lent = nil, nil
}

// idempotent reports whether the request may be sent again though it may have
// arrived: its method says that this does no harm (RFC 9110, section 9.2.2), and
// nothing of a body would be missing.
func (o *outgoing) idempotent() bool {
	return o.body == nil && !o.bodyRead && Idempotent(o.req.Method)
}

// Idempotent reports whether a method may be repeated without asking (RFC 9110,
// section 9.2.2), of those that have no body as a rule. An empty one is GET.
func Idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, "":
		return true
	}
	return false
}

// HasBodyAsARule reports whether it is the purpose of a method to bring a body.
func HasBodyAsARule(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// appendHead appends the request line and the header of req. It refuses what could
// be read in two ways.
func appendHead(b []byte, req *http.Request, out *outgoing) ([]byte, error) {
	method, target, host := req.Method, req.RequestURI, req.Host
	if method == "" {
		method = http.MethodGet
	}
	if target == "" {
		target = req.URL.RequestURI()
	}
	if host == "" {
		host = req.URL.Host
	}
	switch {
	case !httpguts.ValidHeaderFieldName(method):
		return b, fmt.Errorf("invalid method %q", method)
	case !validTarget(target):
		return b, fmt.Errorf("invalid request target %q", target)
	case !httpguts.ValidHostHeader(host):
		return b, fmt.Errorf("invalid host %q", host)
	}
	b = append(b, method...)
	b = append(b, ' ')
	b = append(b, target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, host...)
	b = append(b, "\r\n"...)
	for name, values := range req.Header {
		switch name {
		case "Host", "Content-Length", "Transfer-Encoding", "Trailer":
			continue // said by other fields of the request
		case "Expect":
			out.expectContinue = out.body != nil && httpguts.HeaderValuesContainsToken(values, "100-continue")
		}
		var err error
		if b, err = appendField(b, name, values); err != nil {
			return b, err
		}
	}
	switch {
	case out.length < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		for name := range req.Trailer {
			if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidTrailerHeader(name) {
				return b, fmt.Errorf("invalid trailer %q", name)
			}
			b = append(b, "Trailer: "...)
			b = append(b, name...)
			b = append(b, "\r\n"...)
		}
	case out.length > 0 || HasBodyAsARule(method): // its absence has to be said (RFC 9110, section 8.6)
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, out.length, 10)
		b = append(b, "\r\n"...)
	}
	return append(b, "\r\n"...), nil
}

// appendField appends one field line for each value.
func appendField(b []byte, name string, values []string) ([]byte, error) {
	if !httpguts.ValidHeaderFieldName(name) {
		return b, fmt.Errorf("invalid header field name %q", name)
	}
	for _, value := range values {
		if !httpguts.ValidHeaderFieldValue(value) {
			return b, fmt.Errorf("invalid value of the header field %s", name)
		}
		b = append(b, name...)
		b = append(b, ": "...)
		b = append(b, value...)
		b = append(b, "\r\n"...)
	}
	return b, nil
}

// validTarget reports whether s can stand in a request line: visible ASCII.
func validTarget(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != ""
}

// readAhead appends the beginning of a body of known length to the head. Most
// bodies are small and have arrived with their header: then there is nothing left
// to do but write once. A body whose method AtHand returns false says that it may
// not have. readAhead may be called again.
func (o *outgoing) readAhead() error {
	if o.body == nil || o.length <= 0 || o.expectContinue || o.bodyRead {
		return nil
	}
	if b, ok := o.req.Body.(interface{ AtHand() bool }); ok && !b.AtHand() {
		return nil
	}
	room := int(min(o.length, headSize))
	o.bodyAt = len(o.head)
	o.head = slices.Grow(o.head, room)
	for n := 0; n == 0; {
		var err error
		n, err = o.body.Read(o.head[len(o.head) : len(o.head)+room])
		o.bodyRead = o.bodyRead || n > 0
		o.head = o.head[:len(o.head)+n]
		o.length -= int64(n)
		switch {
		case o.length == 0:
			o.body = nil
			return o.req.Body.Close()
		case err == io.EOF:
			o.bodyRead = true
			return &BodyError{io.ErrUnexpectedEOF}
		case err != nil:
			o.bodyRead = true
			return &BodyError{err}
		}
	}
	return nil
}

// unread gives back what has been read of a body whose request was not sent, if the body
// takes that: it has a method Unread then, and has to copy nothing.
func (o *outgoing) unread() {
	if b, ok := o.req.Body.(interface{ Unread(p []byte) }); ok && o.bodyRead {
		b.Unread(slices.Clone(o.head[o.bodyAt:]))
	}
}

// BodyError means that the body of the request could not be read to its end.
type BodyError struct{ Err error }

func (e *BodyError) Error() string { return "reading the request body: " + e.Err.Error() }

// Unwrap returns the error of the body.
func (e *BodyError) Unwrap() error { return e.Err }

// trailerLines returns the trailer section of a chunked body.
func trailerLines(trailer http.Header) ([]byte, error) {
	var b []byte
	for name, values := range trailer {
		if !httpguts.ValidTrailerHeader(name) {
			return nil, fmt.Errorf("invalid trailer %q", name)
		}
		var err error
		if b, err = appendField(b, name, values); err != nil {
			return nil, err
		}
	}
	return append(b, "\r\n"...), nil
}
