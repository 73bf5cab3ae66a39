package clients

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// inBody is what must stay a part of a body.
func (x *site) inBody() string { return "GET /smuggled HTTP/1.1\r\nHost: " + x.host + "\r\n\r\n" }

// earlyApp answers uploads to /early before it has read them, then does something
// with the connection and, unless that closes it, serves the next request there.
type earlyApp struct {
	*rawApp
	smuggled atomic.Int64
}

func startEarly(t *testing.T, header string, then func(c *rawConn, length int) bool) *earlyApp {
	t.Helper()
	a := new(earlyApp)
	a.rawApp = startRawApp(t, func(c *rawConn) {
		for {
			r, err := c.nextHead()
			if err != nil {
				return
			}
			switch r.path() {
			case "/early":
				length := -1
				if l := r.header("Content-Length"); len(l) == 1 {
					_, _ = fmt.Sscan(l[0], &length)
				}
				c.write("HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n" + header + "\r\nmine")
				if !then(c, length) {
					return
				}
			case "/smuggled":
				a.smuggled.Add(1)
				c.write(ok("smuggled"))
			default:
				c.write(ok("for " + r.path()))
			}
		}
	})
	return a
}

// endings are what apps do after an early answer. They report whether the connection
// is still of use.
var endings = map[string]struct {
	header string
	then   func(c *rawConn, length int) bool
}{
	"reads on":              {"", func(c *rawConn, length int) bool { return c.readOn(length) }},
	"closes":                {"", func(*rawConn, int) bool { return false }},
	"says so and closes":    {"Connection: close\r\n", func(*rawConn, int) bool { return false }},
	"says so and reads on":  {"Connection: close\r\n", func(c *rawConn, length int) bool { c.readOn(length); return false }},
	"closes its side first": {"Connection: close\r\n", func(c *rawConn, length int) bool { c.closeWrite(); c.readOn(length); return false }},
}

// readOn reads the rest of a body.
func (c *rawConn) readOn(length int) bool {
	if length < 0 {
		return c.chunks(new(rawRequest)) == nil
	}
	_, err := c.in.Discard(length)
	return err == nil
}

// An app may answer before it has read a request. The client has the answer, though
// it is still sending, and what is left of the body is no request to anyone.
func TestEarlyAnswerToALargeUploadArrives(t *testing.T) {
	t.Parallel()
	for name, ending := range endings {
		if strings.HasSuffix(name, "closes") {
			continue // resets the connection, and the answer may be lost with it
		}
		t.Run(name, func(t *testing.T) {
			eachProtocol(t, func(t *testing.T, protocol string) {
				a := startEarly(t, ending.header, ending.then)
				x := newSite(t, plain.Get(t), a.addr)
				upload := strings.Repeat(x.inBody(), 4<<20/len(x.inBody()))
				c := x.client(t, protocol)
				for range 3 {
					got, err := c.ask(c.request(t, http.MethodPost, "/early", strings.NewReader(upload)))
					if err != nil || got.StatusCode != http.StatusRequestEntityTooLarge || got.body != "mine" {
						t.Errorf("%s", describe(got, err))
					}
					wantOwnAnswers(t, c, "an early answer", 2)
				}
				if n := a.smuggled.Load(); n > 0 {
					t.Errorf("parts of bodies have become %d requests", n)
				}
				x.wantUnharmed(t)
			})
		})
	}
}

// A client may stop sending when it has half of its request out, and wait for what the app has to
// say. An early answer must not wait for the rest of the request.
func TestEarlyAnswerReachesAClientThatStalls(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, protocol string) {
		a := startEarly(t, "", func(c *rawConn, length int) bool { return c.readOn(length) })
		x := newSite(t, plain.Get(t), a.addr)
		for _, lines := range [][]field{nil, {{"Content-Length", "1000"}}} {
			w := x.dialWire(t, protocol)
			w.begin(http.MethodPost, "/early", true, lines...)
			w.send("the beginning")
			if got := w.answer(); got.status != http.StatusRequestEntityTooLarge || got.body != "mine" {
				t.Errorf("%v: %s", lines, got)
			}
			if h1, ok := w.(*h1Wire); ok {
				if rest, err := io.ReadAll(h1.in); err != nil || len(rest) > 0 {
					t.Errorf("%v: after the answer, %q, %v", lines, rest, err)
				}
			}
		}
	})
}

// A server over HTTP/2 resets the rest of the upload when it has answered (RFC 9113,
// section 8.1), which ends neither the answer nor the connection of the client.
func TestEarlyAnswerOverHTTP2Arrives(t *testing.T) {
	t.Parallel()
	answer := string(pattern(1 << 20))
	x := newSite(t, plain.Get(t), "h2c://"+startH2CApp(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		_, _ = io.WriteString(w, answer)
	}).addr())
	upload := strings.Repeat("x", 4<<20)
	eachProtocol(t, func(t *testing.T, protocol string) {
		c := x.client(t, protocol)
		for range 5 {
			got, err := c.ask(c.request(t, http.MethodPost, "/", strings.NewReader(upload)))
			if err != nil || got.StatusCode != http.StatusRequestEntityTooLarge || got.body != answer {
				t.Errorf("%s", describe(got, err))
			}
		}
	})
	x.wantUnharmed(t)
}

// On a connection of HTTP/1.1, the rest of a body stands in the way of the next
// request. A client that has not been told that the connection ends may send both;
// the rest is no request of its own then.
func TestRestOfAnUploadIsNoRequest(t *testing.T) {
	t.Parallel()
	for name, ending := range endings {
		for _, known := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, length known %t", name, known), func(t *testing.T) {
				eachProtocol(t, func(t *testing.T, protocol string) {
					a := startEarly(t, ending.header, ending.then)
					x := newSite(t, plain.Get(t), a.addr)
					w := x.dialWire(t, protocol)
					for i := range 5 {
						var framing []field
						if known {
							framing = []field{{"Content-Length", fmt.Sprint(2 * len(x.inBody()))}}
						}
						w.begin("POST", "/early", true, framing...)
						half, rest := x.inBody(), x.inBody()
						if h, ok := w.(*h1Wire); ok && !known {
							// Both halves in one chunk, or a line would be between them.
							h.chunked = false
							half, rest = fmt.Sprintf("%x\r\n%s", 2*len(half), half), rest+"\r\n0\r\n\r\n"
						}
						w.send(half)
						got := w.answer()
						if got.status != http.StatusRequestEntityTooLarge && got.status != http.StatusBadGateway {
							t.Fatalf("upload %d: %s", i+1, got)
						}
						w.send(rest)
						w.end()
						if got.last {
							w = x.dialWire(t, protocol)
							continue
						}
						w.begin("GET", "/next", false)
						if got := w.answer(); got.body != "for /next" {
							t.Fatalf("the request after upload %d: %s", i+1, got)
						}
					}
					if n := a.smuggled.Load(); n > 0 {
						t.Errorf("parts of bodies have become %d requests", n)
					}
					x.wantUnharmed(t)
				})
			})
		}
	}
}

// TestAnsweredClientMaySendOn for a while, though it has been told that nobody listens:
// a reset could cost it the answer that it has not read yet.
func TestAnsweredClientMaySendOn(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{h1, h1TLS} {
		for _, known := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, length known %t", protocol, known), func(t *testing.T) {
				t.Parallel()
				a := startEarly(t, "", func(c *rawConn, _ int) bool { return false })
				x := newSite(t, plain.Get(t), a.addr)
				w := x.dialWire(t, protocol).(*h1Wire)
				var framing []field
				if known {
					framing = []field{{"Content-Length", fmt.Sprint(16 << 20)}}
				}
				w.begin("POST", "/early", true, framing...)
				w.send("begun")
				if got := w.answer(); got.status != http.StatusRequestEntityTooLarge || !got.last {
					t.Fatalf("%s", got)
				}
				if _, err := w.in.ReadByte(); err != io.EOF {
					t.Errorf("behind the answer: %v", err)
				}
				for range 64 {
					if _, err := w.Write(make([]byte, 64<<10)); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	}
}

// TestUploadThatFailsLeavesItsConnectionAlone which other requests come by, and perhaps
// those of other people, through a proxy before this one.
func TestUploadThatFailsLeavesItsConnectionAlone(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{h1, h1TLS} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			gone := startApp(t, named("gone"))
			x := newSiteWith(t, plain.Get(t), api.DeployRequest{Targets: []string{gone.addr()}, HoldTimeout: duration(0)})
			gone.stop()
			w := x.dialWire(t, protocol)
			post := func() wireAnswer {
				w.begin("POST", "/", true, field{"Content-Length", "5"})
				w.send("hello")
				return w.answer()
			}
			if got := post(); got.status != http.StatusBadGateway || got.last {
				t.Fatalf("an upload that cannot be forwarded: %s, last %t", got, got.last)
			}
			// Long enough for the proxy to wonder whether the client is still there.
			const wait = 150 * time.Millisecond
			x.deployTo(t, startApp(t, func(_ http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					time.Sleep(wait)
				}
			}).addr())
			for i := range 20 {
				if got := post(); got.status != http.StatusOK {
					t.Fatalf("upload %d after it: %s", i+1, got)
				}
				w.begin("GET", "/", false)
				if got := w.answer(); got.status != http.StatusOK {
					t.Fatalf("request %d after it: %s", i+1, got)
				}
			}
		})
	}
}
