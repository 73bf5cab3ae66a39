package clients

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/net/http2"

	"github.com/parachute-proxy/parachute/internal/api"
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
				x := newSite(t, plain.Get(t), startRawApp(t, func(c *rawConn) {
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

// uploads are bodies that are not sent to their end: because the client has no more to
// send at the moment, or because the target takes no more.
var uploads = map[string]func(t *testing.T) io.Reader{
	"silent client": func(t *testing.T) io.Reader {
		body, upload := io.Pipe()
		t.Cleanup(func() { upload.Close() })
		go func() { _, _ = io.WriteString(upload, "hello") }()
		return body
	},
	"full target": func(*testing.T) io.Reader { return strings.NewReader("hello" + strings.Repeat("x", 30<<20)) },
}

// A client that has not sent all of its request learns at once that there will be no
// more of the answer.
func TestUnfinishedUploadDoesNotDelayTheEndOfItsAnswer(t *testing.T) {
	t.Parallel()
	next := startApp(t, named("next"))
	for name, end := range map[string]func(t *testing.T, x *site, a *app){
		"the target dies": func(_ *testing.T, _ *site, a *app) { a.CloseClientConnections() },
		"the drain timeout is over": func(t *testing.T, x *site, _ *app) {
			status, err := x.Deploy(t.Context(), api.DeployRequest{
				Hosts: []string{x.host}, Targets: []string{next.addr()}, DrainTimeout: duration(100 * time.Millisecond),
			})
			if err != nil || status.Cut == nil {
				t.Errorf("the deploy cut %v, and ended with %v; want a cut and no error", status.Cut, err)
			}
		},
	} {
		for kind, upload := range uploads {
			t.Run(name+", "+kind, func(t *testing.T) {
				eachKindOfTarget(t, func(t *testing.T, start startTarget) {
					eachProtocol(t, func(t *testing.T, protocol string) {
						a, target := startHalfAnswer(t, start)
						x := newSite(t, plain.Get(t), target)
						c := x.client(t, protocol)
						resp, err := c.Do(c.request(t, http.MethodPost, "/", upload(t)))
						must(t, err)
						defer resp.Body.Close()
						_, err = io.ReadFull(resp.Body, make([]byte, len("hello")))
						must(t, err)
						begin := time.Now()
						end(t, x, a)
						if rest, err := io.ReadAll(resp.Body); err == nil || time.Since(begin) > patience/2 {
							t.Errorf("%q, %v after %s", rest, err, time.Since(begin))
						}
						waitFor(t, "the request to end", func() bool { return x.status(t).Active.Requests == 0 })
					})
				})
			})
		}
	}
}

// The same for a target that dies before it answers.
func TestUnfinishedUploadDoesNotDelayABadGateway(t *testing.T) {
	t.Parallel()
	eachKindOfTarget(t, func(t *testing.T, start startTarget) {
		eachProtocol(t, func(t *testing.T, protocol string) {
			var a *app
			var target string
			a, target = start(t, func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.ReadFull(r.Body, make([]byte, len("hello")))
				a.CloseClientConnections()
			})
			c := newSite(t, plain.Get(t), target).client(t, protocol)
			begin := time.Now()
			resp, err := c.Do(c.request(t, http.MethodPost, "/", uploads["silent client"](t)))
			must(t, err)
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusBadGateway || time.Since(begin) > patience/2 {
				t.Errorf("%s after %s", resp.Status, time.Since(begin))
			}
		})
	})
}

// startHalfAnswer starts an app that echoes the first bytes of a request and then is
// silent.
func startHalfAnswer(t *testing.T, start startTarget) (a *app, target string) {
	over := make(chan struct{})
	a, target = start(t, func(w http.ResponseWriter, r *http.Request) {
		out := http.NewResponseController(w)
		_ = out.EnableFullDuplex()
		_, _ = io.CopyN(w, r.Body, int64(len("hello")))
		_ = out.Flush()
		<-over
	})
	t.Cleanup(func() { close(over) }) // before the app is stopped
	return a, target
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
