package edge

import (
	"errors"
	"iter"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/parachute-proxy/parachute/internal/http1"
)

// exchange is one request and the answer to it, all that a handler gets. It is made anew for each
// request, since whoever a handler has given something to may hold it for longer.
type exchange struct {
	// conn is the connection, which others may have taken when done is set.
	conn    *conn
	request *http.Request
	ctx     requestContext
	body    body
	url     url.URL
	// values are those of the fields, if they are not more.
	values [12]string
	writer
}

// blank is what requests are made from.
var blank = new(http.Request)

// newExchange makes an exchange of the head in the buffers.
func (c *conn) newExchange() (*exchange, error) {
	head := &c.buf.head
	x := &exchange{conn: c}
	x.ctx.Context, x.ctx.conn = c.ctx, c
	r := blank.WithContext(&x.ctx) // there is no other way to set the context
	x.request = r
	x.writer.contentLength = -1
	text := c.text(head)
	r.Method = takeText(&text, head.Method)
	if known, ok := methods[r.Method]; ok {
		r.Method = known // so that a method that is kept does not keep the whole head
	}
	r.RequestURI = takeText(&text, head.Target)
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	if head.Minor == 0 {
		r.Proto, r.ProtoMinor = "HTTP/1.0", 0
	}
	r.RemoteAddr, r.TLS, r.Close = c.remote, c.secure, head.Close
	if err := x.parseTarget(); err != nil {
		return nil, err
	}
	r.Header = make(http.Header, len(head.Fields))
	values := x.values[:]
	if len(head.Fields) > len(values) {
		values = make([]string, len(head.Fields))
	}
	for i, f := range head.Fields {
		name := http1.CanonicalName(f.Name)
		value := takeText(&text, f.Value)
		switch name {
		case "Host":
			r.Host = value
			continue
		case "Transfer-Encoding":
			continue
		}
		if before, again := r.Header[name]; again {
			r.Header[name] = append(before, value)
			continue
		}
		values[i] = value
		r.Header[name] = values[i : i+1 : i+1]
	}
	if r.URL.Host != "" {
		r.Host = r.URL.Host
	}
	if !httpguts.ValidHostHeader(r.Host) {
		return nil, errors.New("the host is malformed")
	}
	if pragma := r.Header["Pragma"]; len(pragma) > 0 && pragma[0] == "no-cache" && r.Header["Cache-Control"] == nil {
		r.Header["Cache-Control"] = []string{"no-cache"} // as net/http does
	}
	return x, x.beginBody(head)
}

// beginBody gives the request its body.
func (x *exchange) beginBody(head *http1.Request) error {
	r := x.request
	x.body.exchange = x
	r.Body = &x.body
	switch {
	case head.Chunked:
		r.ContentLength, r.TransferEncoding = -1, []string{"chunked"}
		x.body.length, x.body.chunks = -1, new(http1.Chunks)
		return x.announceTrailers()
	case head.ContentLength > 0:
		r.ContentLength = head.ContentLength
		x.body.length, x.body.left = head.ContentLength, head.ContentLength
	default:
		r.Body = http.NoBody
		x.body.atEnd = true
	}
	return nil
}

// announceTrailers makes Request.Trailer of the names in the Trailer field (RFC 9110, section 6.6.2).
func (x *exchange) announceTrailers() error {
	r := x.request
	lists, ok := r.Header["Trailer"]
	if !ok {
		return nil
	}
	delete(r.Header, "Trailer")
	for name := range announced(lists) {
		switch name {
		case "Transfer-Encoding", "Trailer", "Content-Length":
			return errors.New("a trailer is announced that must not be one")
		}
		if r.Trailer == nil {
			r.Trailer = make(http.Header)
		}
		r.Trailer[name] = nil
	}
	return nil
}

// announced yields the names that the lists of a Trailer field have, in their canonical form.
func announced(lists []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, list := range lists {
			for name := range strings.SplitSeq(list, ",") {
				name = http.CanonicalHeaderKey(strings.Trim(name, " \t"))
				if name != "" && !yield(name) {
					return
				}
			}
		}
	}
}

// text returns the strings of a request one after the other, as takeText takes them: one
// allocation for all.
func (c *conn) text(head *http1.Request) string {
	b := append(append(c.buf.text[:0], head.Method...), head.Target...)
	for _, f := range head.Fields {
		b = append(b, f.Value...)
	}
	c.buf.text = b
	return string(b)
}

// takeText takes from text what has the length of b.
func takeText(text *string, b []byte) string {
	s := (*text)[:len(b)]
	*text = (*text)[len(b):]
	return s
}

// parseTarget sets the URL of the request, as net/http does.
func (x *exchange) parseTarget() error {
	r := x.request
	if isPlain(r.RequestURI) {
		x.url.Path, x.url.RawQuery, _ = strings.Cut(r.RequestURI, "?")
		r.URL = &x.url
		return nil
	}
	target := r.RequestURI
	authority := r.Method == http.MethodConnect // whose target has no path
	if authority {
		target = "http://" + target
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return errors.New("the request target is malformed")
	}
	if authority {
		u.Scheme = ""
	}
	r.URL = u
	return nil
}

// isPlain reports whether a request target is a path in which nothing is escaped or has to be,
// with or without a query.
func isPlain(target string) bool {
	if target[0] != '/' {
		return false
	}
	for i := range len(target) {
		switch c := target[i]; {
		case c|0x20 >= 'a' && c|0x20 <= 'z', c >= '0' && c <= '9', c == '/', c == '-', c == '.', c == '_', c == '~':
		case c == '?':
			query := target[i+1:]
			for j := range len(query) {
				if query[j] <= ' ' || query[j] >= 0x7f {
					return false
				}
			}
			return query != "" // without, the question mark has to be remembered
		default:
			return false
		}
	}
	return true
}

var methods = map[string]string{
	"GET": "GET", "HEAD": "HEAD", "POST": "POST", "PUT": "PUT", "PATCH": "PATCH", "DELETE": "DELETE", "OPTIONS": "OPTIONS",
}

// expects100 reports whether a request wants to be told to go on (RFC 9110, section 10.1.1).
func expects100(h http.Header) bool {
	return httpguts.HeaderValuesContainsToken(h["Expect"], "100-continue")
}
