package clients

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/quic-go/quic-go"
	"golang.org/x/net/http2"
)

// cuts are the ways in which an app breaks off its answer.
var cuts = map[string]func(c *rawConn){
	"short of its length":    func(c *rawConn) { c.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello") },
	"without the last chunk": func(c *rawConn) { c.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n") },
	"in a chunk":             func(c *rawConn) { c.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhello") },
	"in a chunk size":        func(c *rawConn) { c.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1") },
	"behind the last chunk":  func(c *rawConn) { c.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n") },
	"in the trailers": func(c *rawConn) {
		c.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1")
	},
	"with a malformed chunk": func(c *rawConn) {
		c.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nZZ\r\n0\r\n\r\n")
	},
	"in an event stream": func(c *rawConn) {
		c.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ndata:\r\n")
	},
	"with a reset, length":    func(c *rawConn) { c.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"); c.reset() },
	"with a reset, no length": func(c *rawConn) { c.write("HTTP/1.1 200 OK\r\n\r\nhello"); c.reset() },
	"after much": func(c *rawConn) {
		c.write("HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + strings.Repeat("x", 2_000_000))
	},
}

// Trap 70: an answer that the app breaks off does not look complete to anyone: not
// to a client, and not on the wire.
func TestCutAnswerNeverLooksComplete(t *testing.T) {
	t.Parallel()
	for name, cut := range cuts {
		t.Run(name, func(t *testing.T) {
			eachProtocol(t, func(t *testing.T, protocol string) {
				x := newSite(t, plain.server(t), startRawApp(t, func(c *rawConn) {
					if _, err := c.next(); err == nil {
						cut(c)
					}
				}).addr)
				c := x.client(t, protocol)
				if got, err := c.ask(c.request(t, http.MethodGet, "/", nil)); err == nil && got.StatusCode != http.StatusBadGateway {
					t.Errorf("the client believes that %.40q is everything", got.body)
				}
				w := x.dialWire(t, protocol)
				w.begin("GET", "/", false)
				got := w.answer()
				if got.status == http.StatusBadGateway {
					return // cut before anything had been passed on
				}
				if !brokenOff(protocol, got.err) {
					t.Errorf("on the wire: %d %.40q, %v", got.status, got.body, got.err)
				}
				x.wantUnharmed(t)
			})
		})
	}
}

// brokenOff reports whether an answer ended as one that broke off has to: HTTP/1.1
// has nothing but the end of the connection, the others reset the stream.
func brokenOff(protocol string, err error) bool {
	switch protocol {
	case h2:
		_, ok := errors.AsType[http2.StreamError](err)
		return ok
	case h3:
		_, ok := errors.AsType[*quic.StreamError](err)
		return ok
	}
	return errors.Is(err, io.ErrUnexpectedEOF)
}
