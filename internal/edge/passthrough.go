package edge

import (
	"net/http"
	"strings"
	"time"

	"github.com/parachute-proxy/parachute/internal/passthrough"
)

// passed is what buffers have for a request that is passed through.
type passed struct {
	request passthrough.Request
	// closes says that the connection ends with the answer, and err why that could not be sent.
	closes bool
	err    error
}

// forget drops what belongs to a connection. Host and Target stay: the next request may have the same.
func (p *passed) forget() {
	p.request = passthrough.Request{Host: p.request.Host, Target: p.request.Target, Path: p.request.Path}
	p.err = nil
}

// passThrough has the request whose head, of a size, has been read passed through, if that is possible. It
// returns false if it is not, with the handler that is to serve the request then; nil for that of the server.
func (c *conn) passThrough(size int) (answered bool, handler http.Handler) {
	head := &c.buf.head
	h, ok := c.server.Std.Handler.(passthrough.Handler)
	if !ok || head.Minor == 0 || head.ContentLength >= 0 || head.Chunked || c.server.Std.ReadTimeout > 0 || c.server.Std.WriteTimeout > 0 {
		return false, nil
	}
	p := &c.buf.passed
	r := &p.request
	switch string(head.Method) {
	case http.MethodGet:
		r.Method = http.MethodGet
	case http.MethodHead:
		r.Method = http.MethodHead
	default:
		return false, nil
	}
	if string(head.Target) != r.Target {
		r.Target = string(head.Target)
		if r.Path, _, _ = strings.Cut(r.Target, "?"); !isPlain(r.Target) || !hasPlainSegments(r.Path) {
			r.Target = ""
			return false, nil
		}
	}
	if string(head.Host) != r.Host {
		r.Host = string(head.Host)
	}
	r.Head, r.Size, r.Began = head, size, time.Now()
	r.RemoteAddr, r.Client, r.TLS = c.remote, c.client, c.secure
	r.Answer, r.Conn, r.Context = c, c.socket, c.ctx
	p.closes, p.err = head.Close, nil
	return h.PassThrough(r)
}

// hasPlainSegments reports whether no segment of a path is empty or begins with a dot.
func hasPlainSegments(path string) bool {
	for i := 1; i < len(path); i++ {
		if path[i-1] == '/' && (path[i] == '/' || path[i] == '.') {
			return false
		}
	}
	return true
}

// Begin implements [passthrough.ResponseWriter].
func (c *conn) Begin(status int) []byte { return appendStatus(c.buf.out, 1, status) }

// End implements [passthrough.ResponseWriter].
func (c *conn) End(head, body []byte, hasDate bool) {
	if !hasDate {
		head = appendDate(head)
	}
	b, p := c.buf, &c.buf.passed
	if p.closes = p.closes || c.server.ending.Load(); p.closes {
		head = append(head, "Connection: close\r\n"...)
	}
	head = append(head, "\r\n"...)
	switch room := cap(head) - len(head); {
	case len(body) <= room:
		b.out = append(head, body...)
	case c.secure != nil:
		// To copy a part of the body costs less than to encrypt and send one more TLS record.
		if p.err = c.write(append(head, body[:room]...)); p.err == nil {
			p.err = c.write(body[room:])
		}
	default:
		p.err = c.writeBoth(head, body)
	}
}

// flushPassed sends what is left of an answer that was passed through. It reports whether the connection can
// be used for another request.
func (c *conn) flushPassed() bool {
	b, p := c.buf, &c.buf.passed
	if p.err == nil && len(b.out) > 0 {
		p.err = c.write(b.out)
	}
	if cap(b.out) > outSize {
		b.out = make([]byte, 0, outSize)
	}
	b.out = b.out[:0]
	return p.err == nil && !p.closes
}
