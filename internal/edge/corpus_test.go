package edge

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/http1/corpus"
)

// ambiguous are requests that others may read in another way. Each has one more embedded, for
// /smuggled, that must never be served.
var ambiguous = []string{
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\nA: b\r\n\tTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\nA: b\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\nA: b\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 40\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0, 40\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: \r\n\r\n",
	"POST / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
	"POST / HTTP/1.1\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\nA\x00: b\r\n\r\n",
	"POST / HTTP/1.1\nHost: x\n\n",
	"POST / HTTP/1.1\r\nHost: x\r\n\n",
	"POST / HTTP/3.0\r\nHost: x\r\n\r\n",
	"POST /a b HTTP/1.1\r\nHost: x\r\n\r\n",
}

// faulty are requests whose head is fine and whose body is not: the handler may get them, and has
// an error when it reads.
var faulty = []string{
	"POST /faulty HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\n\n",
	"POST /faulty HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
	"POST /faulty HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;a\nb\r\na\r\n0\r\n\r\n",
	"POST /faulty HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n 0\r\n\r\n",
	"POST /faulty HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-0\r\n\r\n",
	"POST /faulty HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA : b\r\n\r\n",
	"POST /faulty HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\n\r\n",
	"POST /faulty HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\n0\r\n\r\n",
}

const smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

// secure has a server serve TLS, with a certificate that clients do not look at.
func secure(std *http.Server) {
	of := httptest.NewUnstartedServer(nil)
	of.StartTLS()
	std.TLSConfig = of.TLS.Clone()
	std.TLSConfig.NextProtos = []string{"http/1.1"}
	of.Close()
}

// overTLS has the client speak TLS.
func (c *client) overTLS() *client {
	conn := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	c.Conn = conn
	c.r.Reset(conn)
	return c
}

func TestEmbeddedRequestsAreNeverServed(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		switch {
		case r.URL.Path == "/smuggled":
			t.Errorf("a request that was embedded is served")
		case r.URL.Path == "/faulty" && err == nil:
			t.Errorf("a body is read without an error that has one")
		case r.URL.Path == "/":
			t.Errorf("a request is served that can be read in two ways")
		}
		hello(w, r)
	})
	plain, secured := serve(t, true, handler), serve(t, true, handler, secure)
	for _, request := range append(append([]string(nil), ambiguous...), faulty...) {
		for _, later := range []bool{false, true} {
			for _, over := range []*serving{plain, secured} {
				c := over.dial()
				if over == secured {
					c = c.overTLS()
				}
				if later {
					c.send("GET /first HTTP/1.1\r\nHost: x\r\n\r\n")
					c.answer("GET")
				}
				c.send(request + smuggled)
				resp, _ := c.answer("POST")
				if !resp.Close || resp.StatusCode != 200 && resp.StatusCode != 400 && resp.StatusCode != 501 && resp.StatusCode != 505 {
					t.Errorf("%q is answered %v", request, resp)
				}
				c.ends()
				c.Close()
			}
		}
	}
}

// What is served in its body is in its body.
func TestBodiesAreNoRequests(t *testing.T) {
	s := serve(t, true, hello)
	for _, request := range []string{
		fmt.Sprintf("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(smuggled), smuggled),
		fmt.Sprintf("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(smuggled), smuggled),
	} {
		c := s.dial()
		c.send(request + "GET /b HTTP/1.1\r\nHost: x\r\n\r\n")
		for _, want := range []string{"hello /a", "hello /b"} {
			if _, body := c.answer("GET"); body != want {
				t.Errorf("got %q, want %q", body, want)
			}
		}
	}
}

func TestEdgeServesTLS(t *testing.T) {
	s := serve(t, true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || !r.TLS.HandshakeComplete {
			t.Error("the request has no state of TLS")
		}
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	}), secure)
	c := s.dial().overTLS()
	for _, size := range []int{0, 1, 1000, 4096, 5000, 100000, 1} {
		body := strings.Repeat("b", size)
		c.send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", size, body))
		if _, got := c.answer("POST"); got != body {
			t.Errorf("of %d bytes, %d come back", size, len(got))
		}
	}
}

// TestCorpusIsAnsweredAsItHasTo over plain connections and TLS, as the first request of a connection and as a
// later one.
func TestCorpusIsAnsweredAsItHasTo(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/smuggled" {
			t.Error("a request that was embedded is served")
		}
		_, _ = io.Copy(io.Discard, r.Body)
		hello(w, r)
	})
	silent := func(std *http.Server) { std.ConnState = nil } // for the many connections
	for name, over := range map[string]*serving{"plain": serve(t, true, handler, silent), "TLS": serve(t, true, handler, silent, secure)} {
		for _, later := range []bool{false, true} {
			for _, tt := range corpus.All() {
				t.Run(fmt.Sprintf("%s, later %t, %s", name, later, tt.Name), func(t *testing.T) {
					c := over.dial()
					c.t = t
					if name == "TLS" {
						c = c.overTLS()
					}
					if later {
						c.send("GET /first HTTP/1.1\r\nHost: x\r\n\r\n")
						c.answer("GET")
					}
					c.send(tt.Request)
					resp, _ := c.answer("GET")
					if want := cmp.Or(tt.Status, http.StatusOK); resp.StatusCode != want || resp.Close != (tt.Status != 0) {
						t.Errorf("%s: %d, close %t; want %d (%s)", tt.Name, resp.StatusCode, resp.Close, want, tt.Section)
					}
					c.Close()
				})
			}
		}
	}
}
