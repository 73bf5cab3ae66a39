package edge

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/parachute-proxy/parachute/internal/passthrough"
)

// passer is a handler that requests can be passed through to.
type passer struct {
	http.Handler
	pass func(r *passthrough.Request) (answered bool, next http.Handler)
}

func (p passer) PassThrough(r *passthrough.Request) (answered bool, next http.Handler) {
	return p.pass(r)
}

// answerWith answers with a body.
func answerWith(body string) func(r *passthrough.Request) (bool, http.Handler) {
	return func(r *passthrough.Request) (bool, http.Handler) {
		head := fmt.Appendf(r.Answer.Begin(http.StatusOK), "x-passed: %s%s\r\nContent-Length: %d\r\n", r.Host, r.Target, len(body))
		r.Answer.End(head, []byte(body), false)
		return true, nil
	}
}

func TestRequestsThatNeedMoreAreNotOffered(t *testing.T) {
	offered := make(chan string, 1)
	s := serve(t, true, passer{hello, func(r *passthrough.Request) (bool, http.Handler) {
		offered <- r.Method + " " + r.Path
		return false, nil
	}})
	for request, want := range map[string]string{
		"GET /a/b-c_d.e~f HTTP/1.1\r\nHost: x\r\n\r\n":                             "GET /a/b-c_d.e~f",
		"HEAD /?q=%2e HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n":       "HEAD /",
		"GET / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n":              "",
		"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":                   "GET /",
		"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n":                   "",
		"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na":                  "",
		"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": "",
		"POST / HTTP/1.1\r\nHost: x\r\n\r\n":                                       "",
		"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n":                                    "",
		"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n":                                "",
		"GET /%61 HTTP/1.1\r\nHost: x\r\n\r\n":                                     "",
		"GET //a HTTP/1.1\r\nHost: x\r\n\r\n":                                      "",
		"GET /a/../b HTTP/1.1\r\nHost: x\r\n\r\n":                                  "",
		"GET /.well-known/a HTTP/1.1\r\nHost: x\r\n\r\n":                           "",
		"GET /a? HTTP/1.1\r\nHost: x\r\n\r\n":                                      "",
	} {
		c := s.dial()
		c.send(request)
		method, _, _ := strings.Cut(request, " ")
		c.answer(method) // of the handler
		got := ""
		select {
		case got = <-offered:
		default:
		}
		if got != want {
			t.Errorf("of %q, %q was offered, want %q", request, got, want)
		}
	}
}

func TestAnswersThatArePassedThroughArriveWhole(t *testing.T) {
	for _, byTLS := range []bool{false, true} {
		for _, size := range []int{0, 5, outSize - 100, outSize, 3 * outSize} {
			body := strings.Repeat("x", size)
			var change []func(*http.Server)
			if byTLS {
				change = append(change, secure)
			}
			c := serve(t, true, passer{hello, answerWith(body)}, change...).dial()
			if byTLS {
				c = c.overTLS()
			}
			for range 3 {
				c.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
				if resp, got := c.answer("GET"); resp.StatusCode != 200 || got != body || resp.Header.Get("X-Passed") != "x/a" || resp.Header.Get("Date") == "" || resp.Close {
					t.Fatalf("with TLS %t, %d bytes: %v and %d bytes", byTLS, size, resp, len(got))
				}
			}
		}
	}
}

func TestPassedThroughAnswerTellsTheEndOfAServerThatEnds(t *testing.T) {
	var server atomic.Pointer[Server]
	s := serve(t, true, passer{hello, func(r *passthrough.Request) (bool, http.Handler) {
		server.Load().ending.Store(true)
		return answerWith("x")(r)
	}})
	server.Store(s.server)
	c := s.dial()
	c.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
	if resp, _ := c.answer("GET"); !resp.Close {
		t.Error("the client is not told that the connection ends")
	}
	c.ends()
}

func TestPassedThroughAnswerEndsTheConnectionThatTheClientWantsToEnd(t *testing.T) {
	c := serve(t, true, passer{hello, answerWith("x")}).dial()
	c.send("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if resp, body := c.answer("GET"); !resp.Close || body != "x" || len(resp.Header) == 0 {
		t.Errorf("the answer is %+v with %q", resp, body)
	}
	c.ends()
}

func TestRequestThatIsNotPassedThroughGoesToWhoIsNamed(t *testing.T) {
	other := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("other " + r.Header.Get("A"))) })
	c := serve(t, true, passer{hello, func(*passthrough.Request) (bool, http.Handler) { return false, other }}).dial()
	c.send("GET /a HTTP/1.1\r\nHost: x\r\na: b\r\n\r\n")
	if _, body := c.answer("GET"); body != "other b" {
		t.Errorf("the answer is %q", body)
	}
}

// A fault is to cost one connection and not all of them.
func TestPanicWhileARequestIsPassedThroughEndsItsConnection(t *testing.T) {
	s := serve(t, true, passer{hello, func(r *passthrough.Request) (bool, http.Handler) {
		if r.Path == "/fault" {
			panic("a fault")
		}
		return false, nil
	}})
	c := s.dial()
	c.send("GET /fault HTTP/1.1\r\nHost: x\r\n\r\n")
	c.ends()
	if log := s.log.String(); !strings.Contains(log, "a fault") {
		t.Errorf("the log has %q", log)
	}
	c = s.dial()
	c.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, body := c.answer("GET"); body != "hello /a" {
		t.Errorf("the next answer is %q", body)
	}
}
