package clients

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// misbehaviour is what an app does with a connection on which a request has come. It
// ends when the connection may not be used any more.
type misbehaviour struct {
	name string
	// method and body make the request that the app misbehaves on.
	method, body string
	act          func(c *rawConn, r *rawRequest)
	// wants are the statuses that the client may see.
	wants []int
}

var misbehaviours = []misbehaviour{
	{"two answers", "GET", "", func(c *rawConn, _ *rawRequest) { c.write(ok("mine") + poison) }, []int{200, 502}},
	{"answer behind chunks", "GET", "", func(c *rawConn, _ *rawRequest) {
		c.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmine\r\n0\r\n\r\n" + poison)
	}, []int{200, 502}},
	{"extra bytes", "GET", "", func(c *rawConn, _ *rawRequest) { c.write(ok("mine") + "and more") }, []int{200, 502}},
	{"extra line", "GET", "", func(c *rawConn, _ *rawRequest) { c.write(ok("mine") + "\r\n") }, []int{200, 502}},
	{"wrong length", "GET", "", func(c *rawConn, _ *rawRequest) {
		c.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine" + strings.Repeat(poison, 100))
	}, []int{200, 502}},
	{"204 with a body", "GET", "", func(c *rawConn, _ *rawRequest) {
		c.write(fmt.Sprintf("HTTP/1.1 204 No Content\r\nContent-Length: %d\r\n\r\n%s", len(poison), poison))
	}, []int{204, 502}},
	{"204, more behind", "GET", "", func(c *rawConn, _ *rawRequest) { c.write("HTTP/1.1 204 No Content\r\n\r\n" + poison) }, []int{204, 502}},
	{"304, more behind", "GET", "", func(c *rawConn, _ *rawRequest) { c.write("HTTP/1.1 304 Not Modified\r\n\r\n" + poison) }, []int{304, 502}},
	{"HEAD with a body", "HEAD", "", func(c *rawConn, _ *rawRequest) {
		c.write(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(poison), poison))
	}, []int{200, 502}},
	{"garbage behind", "GET", "", func(c *rawConn, _ *rawRequest) { c.write(ok("mine") + "\x00\xff\x16\x03garbage\n\n\n") }, []int{200, 502}},
	{"100 behind", "GET", "", func(c *rawConn, _ *rawRequest) { c.write(ok("mine") + "HTTP/1.1 100 Continue\r\n\r\n" + poison) }, []int{200, 502}},
	{"early answer, body read", "POST", strings.Repeat(poison, 100), func(c *rawConn, _ *rawRequest) { c.write(ok("mine")) }, []int{200, 502}},
	{"answer, then close", "POST", "body", func(c *rawConn, _ *rawRequest) { c.write(ok("mine")); c.Close() }, []int{200}},
	{"answer, then reset", "GET", "", func(c *rawConn, _ *rawRequest) { c.write(ok("mine")); c.reset() }, []int{200, 502}},
	{"close announced, kept open", "GET", "", func(c *rawConn, _ *rawRequest) {
		c.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nmine" + poison)
	}, []int{200}},
	{"HTTP/1.0, kept open", "GET", "", func(c *rawConn, _ *rawRequest) {
		c.write("HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nmine" + poison)
	}, []int{200}},
}

// TestNoClientEverGetsAnothersBytes: whatever an app does to a connection, the next
// requests have answers of their own.
func TestNoClientEverGetsAnothersBytes(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol string) {
		for _, m := range misbehaviours {
			a := startRawApp(t, func(c *rawConn) {
				misbehaved := false
				for {
					r, err := c.next()
					switch {
					case err != nil:
						return
					case misbehaved:
						t.Errorf("%s: the connection was used again, for %s", m.name, r.line)
						return
					case r.path() == "/misbehave":
						m.act(c, r)
						// Neither an early answer nor its end is a reason not to use it.
						misbehaved = !strings.HasPrefix(m.name, "early answer")
					default:
						c.write(ok("for " + r.path()))
					}
				}
			})
			x := newSite(t, plain.Get(t), a.addr)
			c := x.client(t, protocol)
			for range 3 {
				got, err := c.ask(c.request(t, m.method, "/misbehave", strings.NewReader(m.body)))
				if err == nil {
					err = fmt.Errorf("%s %q", got.Status, got.body)
					for _, want := range m.wants {
						if got.StatusCode == want && (want != 200 || got.body == "mine" || m.method == "HEAD") {
							err = nil
						}
					}
				}
				if err != nil {
					t.Errorf("%s: %v", m.name, err)
				}
				wantOwnAnswers(t, c, m.name, 3)
			}
		}
	})
}

// wantOwnAnswers makes requests whose answers name them.
func wantOwnAnswers(t *testing.T, c *client, after string, n int) {
	t.Helper()
	for i := range n {
		path := fmt.Sprintf("/victim-%d", i)
		got, err := c.ask(c.request(t, http.MethodGet, path, nil))
		if err != nil || got.StatusCode != http.StatusOK || got.body != "for "+path || got.Header.Get("X-Poison") != "" {
			t.Errorf("after %s, the answer for %s: %s", after, path, describe(got, err))
		}
	}
}

// An answer to a request that has not been made is nobody's answer: it comes while
// the connection is idle, before the next request.
func TestUnsolicitedAnswerIsGivenToNobody(t *testing.T) {
	t.Parallel()
	for name, unsolicited := range map[string]string{
		"answer":  poison,
		"408":     "HTTP/1.1 408 Request Timeout\r\nX-Poison: yes\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		"hints":   "HTTP/1.1 103 Early Hints\r\nX-Poison: yes\r\n\r\n",
		"garbage": "\x00\x01\x02",
		"line":    "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			eachProtocol(t, func(t *testing.T, protocol string) {
				answered, poisoned := make(chan struct{}), make(chan struct{})
				a := startRawApp(t, func(c *rawConn) {
					for {
						r, err := c.next()
						if err != nil {
							return
						}
						c.write(ok("for " + r.path()))
						if r.path() == "/first" {
							<-answered
							c.write(unsolicited)
							poisoned <- struct{}{}
							if r, err := c.next(); err == nil {
								t.Errorf("the connection was used again, for %s", r.line)
							}
							return
						}
					}
				})
				c := newSite(t, plain.Get(t), a.addr).client(t, protocol)
				for range 5 {
					if got := c.get(t, "/first"); got.body != "for /first" {
						t.Fatalf("%s %q", got.Status, got.body)
					}
					answered <- struct{}{}
					arrive(t, "the unsolicited answer", poisoned)
					wantOwnAnswers(t, c, "an unsolicited "+name, 3)
				}
			})
		})
	}
}
