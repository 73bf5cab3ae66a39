package edge

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/parachute-proxy/parachute/internal/http1"
)

// answerHead is what has been found in the fields of an answer that are not written before it is
// committed.
type answerHead struct {
	connection, coding, contentType, length []string
	hasConnection, hasCoding, hasType       bool
	hasEncoding, hasDate, hasTrailers       bool
	// trailers are the names that the field Trailer announces.
	trailers []string
}

// bodyAllowed reports whether an answer with a status may have a body (RFC 9110, section 6.4.1).
func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// beginHead writes the status line and the fields of the answer into the buffer, but for those
// that commit decides about.
func (x *exchange) beginHead() {
	b := x.conn.buf
	b.out = x.appendStatus(b.out, x.status)
	h := &x.answer
	names := b.names[:0]
	for name, values := range x.header {
		switch name {
		case "Connection":
			h.connection, h.hasConnection = values, true
		case "Transfer-Encoding":
			h.coding, h.hasCoding = values, len(values) > 0 && values[0] != ""
		case "Content-Length":
			h.length = values
		case "Content-Type":
			h.contentType, h.hasType = values, true
		default:
			switch {
			case strings.HasPrefix(name, http.TrailerPrefix):
				h.hasTrailers = true
				continue
			case name == "Date":
				h.hasDate = true
			case name == "Content-Encoding":
				h.hasEncoding = len(values) > 0 && values[0] != ""
			case name == "Trailer":
				h.hasTrailers = true
				for trailer := range announced(values) {
					if httpguts.ValidTrailerHeader(trailer) {
						h.trailers = append(h.trailers, trailer)
					}
				}
			}
			names = append(names, name)
		}
	}
	x.writeFields(names)
}

// writeFields writes fields into the buffer, in the order of their names, which it keeps the room of.
func (x *exchange) writeFields(names []string) {
	b := x.conn.buf
	slices.Sort(names)
	b.names = names
	for _, name := range names {
		b.out = appendField(b.out, name, x.header[name])
	}
}

// appendStatus appends the line that an answer begins with.
func (x *exchange) appendStatus(b []byte, status int) []byte {
	return appendStatus(b, x.request.ProtoMinor, status)
}

// appendStatus appends the line that an answer with a minor version begins with.
func appendStatus(b []byte, minor, status int) []byte {
	if minor > 0 {
		b = append(b, "HTTP/1.1 "...)
	} else {
		b = append(b, "HTTP/1.0 "...)
	}
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	if text := http.StatusText(status); text != "" {
		b = append(b, text...)
	} else {
		b = strconv.AppendInt(append(b, "status code "...), int64(status), 10)
	}
	return append(b, "\r\n"...)
}

// appendField appends the lines of a field. What could end a line becomes white space, and a field
// whose name is no token is left out, as with net/http.
func appendField(b []byte, name string, values []string) []byte {
	if !http1.IsToken(name) {
		return b
	}
	for _, value := range values {
		b = append(append(b, name...), ": "...)
		start := len(b)
		b = append(b, value...)
		for i, c := range b[start:] {
			if c == '\r' || c == '\n' {
				b[start+i] = ' '
			}
		}
		b = append(trimFrom(b, start), "\r\n"...)
	}
	return b
}

// trimFrom takes the white space away that is around b[start:].
func trimFrom(b []byte, start int) []byte {
	if len(b) == start || !isSpace(b[start]) && !isSpace(b[len(b)-1]) {
		return b
	}
	return append(b[:start], bytes.Trim(b[start:], " \t")...)
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// inform writes an informational answer.
func (x *exchange) inform(status int) {
	b := x.conn.buf
	b.out = x.appendStatus(b.out, status)
	names := b.names[:0]
	for name := range x.header {
		if name != "Content-Length" && name != "Transfer-Encoding" {
			names = append(names, name)
		}
	}
	x.writeFields(names)
	b.out = append(b.out, "\r\n"...)
	sent := x.sent
	x.flush()
	x.sent = sent
}

// commit writes the rest of the head. p is the beginning of the body, and all of it if the answer
// is whole.
func (x *exchange) commit(p []byte, whole bool) {
	x.committed = true
	h, r := &x.answer, x.request
	b := x.conn.buf
	head := r.Method == http.MethodHead
	allowed := bodyAllowed(x.status)
	own := int64(-1) // a length that the handler has not said
	if whole && !h.hasTrailers && !h.hasCoding && allowed && len(h.length) == 0 && (!head || len(p) > 0) {
		own = int64(len(p))
		x.contentLength = own
	}
	keepAlive := x.decideConnection(head, allowed)
	x.makeWay()
	if x.closes && x.status != http.StatusSwitchingProtocols && !httpguts.HeaderValuesContainsToken(h.connection, "close") {
		h.connection, keepAlive = nil, ""
		if r.ProtoMinor > 0 {
			keepAlive = "close"
		}
	}
	b.out = appendField(b.out, "Connection", h.connection)
	if !h.hasDate {
		b.out = appendDate(b.out)
	}
	switch {
	case allowed:
		b.out = appendField(b.out, "Content-Type", h.contentType)
		if !h.hasType && !h.hasEncoding && !h.hasCoding && len(p) > 0 {
			b.out = append(append(append(b.out, "Content-Type: "...), http.DetectContentType(p)...), "\r\n"...)
		}
	case x.status != http.StatusNotModified:
		b.out = appendField(b.out, "Content-Type", h.contentType)
	}
	b.out = x.appendFraming(b.out, own, head, allowed)
	if keepAlive != "" {
		b.out = append(append(append(b.out, "Connection: "...), keepAlive...), "\r\n"...)
	}
	b.out = append(b.out, "\r\n"...)
}

// decideConnection decides whether the connection ends with the answer, and returns what the field
// Connection has to say, which the handler has not said.
func (x *exchange) decideConnection(head, allowed bool) (keepAlive string) {
	h, r := &x.answer, x.request
	said := ""
	if len(h.connection) > 0 {
		said = h.connection[0]
	}
	ending := x.conn.server.ending.Load()
	switch wants10 := r.ProtoMinor == 0 && !r.Close && httpguts.HeaderValuesContainsToken(r.Header["Connection"], "keep-alive"); {
	case wants10 && (head || x.contentLength >= 0 || !allowed):
		if !h.hasConnection {
			keepAlive = "keep-alive"
		}
	case r.ProtoMinor == 0 || r.Close:
		x.closes = true
	}
	if said == "close" || ending {
		x.closes = true
	}
	if x.awaitsContinue && !x.body.ended() {
		x.closes = true // what follows may be the body or not
	}
	return keepAlive
}

// makeWay reads what is left of the request, if that is little: a client may not begin to take the
// answer before it has sent it.
func (x *exchange) makeWay() {
	if x.body.length == 0 || x.closes || x.fullDuplex {
		return
	}
	b := &x.body
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.atEnd:
	case b.closed, b.err != nil:
		x.closes = true
	case b.left >= maxUnread:
		x.closes = true
		b.gaveUp = true
	default:
		if !b.discard(maxUnread) {
			x.closes = true
		}
		b.closed = true
	}
}

// appendFraming appends what says where the body ends, and decides that.
func (x *exchange) appendFraming(b []byte, own int64, head, allowed bool) []byte {
	h, r := &x.answer, x.request
	coding := ""
	if h.hasCoding {
		coding = h.coding[0]
	}
	hasLength := x.contentLength >= 0
	length := h.length
	if hasLength && h.hasCoding && coding != "identity" {
		x.conn.server.logf("http: WriteHeader called with both Transfer-Encoding of %q and a Content-Length of %d", coding, x.contentLength)
		hasLength, length = false, nil
	}
	switch {
	case x.status == http.StatusNoContent || x.status < 200:
		return b
	case x.status == http.StatusNotModified:
		return b
	case head || hasLength:
	case r.ProtoMinor == 0 || coding == "identity":
		// Its end is that of the connection.
		if !x.closes && r.ProtoMinor > 0 {
			b = append(b, "Connection: close\r\n"...)
		}
		x.closes = true
		length = nil
	default:
		x.chunking = true
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		length = nil
	}
	if own >= 0 {
		return append(strconv.AppendInt(append(b, "Content-Length: "...), own, 10), "\r\n"...)
	}
	return appendField(b, "Content-Length", length)
}

// writeTrailers writes the trailers of a chunked answer: those that were announced, and those that
// have the prefix of net/http.
func (x *exchange) writeTrailers() {
	if !x.answer.hasTrailers && !hasPrefixed(x.header) {
		return
	}
	var b []byte
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range x.header {
			if strings.HasPrefix(name, http.TrailerPrefix) && !yield(name) {
				return
			}
		}
	}) {
		b = appendField(b, strings.TrimPrefix(name, http.TrailerPrefix), x.header[name])
	}
	for _, name := range x.answer.trailers {
		b = appendField(b, name, x.header[name])
	}
	x.put(b)
}

func hasPrefixed(h http.Header) bool {
	for name := range h {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

// appendDate appends the field Date.
func appendDate(b []byte) []byte {
	return append(append(append(b, "Date: "...), date(time.Now())...), "\r\n"...)
}

// datedSecond is the text of a second.
type datedSecond struct {
	second int64
	text   string
}

var lastDate atomic.Pointer[datedSecond]

// date returns a time as the field Date has it (RFC 9110, section 6.6.1).
func date(now time.Time) string {
	second := now.Unix()
	if last := lastDate.Load(); last != nil && last.second == second {
		return last.text
	}
	d := &datedSecond{second, now.UTC().Format(http.TimeFormat)}
	lastDate.Store(d)
	return d.text
}
