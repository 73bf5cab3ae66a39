package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/testkit"
)

// TestConnectionThatTheTargetClosedCostsNoRequest whatever its method: that is
// seen before anything is written.
func TestConnectionThatTheTargetClosedCostsNoRequest(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		for name, req := range map[string]func() *http.Request{
			"GET":              func() *http.Request { return get(t) },
			"POST":             func() *http.Request { return post(t, nil) },
			"POST with a body": func() *http.Request { return post(t, strings.NewReader("body")) },
			"large POST":       func() *http.Request { return post(t, strings.NewReader(long(1<<20))) },
			"chunked POST":     func() *http.Request { return post(t, struct{ io.Reader }{strings.NewReader("body")}) },
		} {
			tr := g.transport()
			dead := fill(t, g, tr, 1)[0]
			_ = dead.Close()
			awaitArrival(t, tr)
			done := start(tr, req())
			g.accept().answer(ok)
			if o := receive(t, done, "the answer"); o.err != nil || o.body != "ok" {
				t.Errorf("%s: %+v", name, o)
			}
			tr.Close()
			wantStats(t, tr, 0, 0)
		}
	})
}

func long(n int) string { return strings.Repeat("0123456789abcdef", (n+15)/16)[:n] }

// TestLateAnswerReachesNobody sends what nobody has asked for on an idle
// connection, from where it must not get to the next request.
func TestLateAnswerReachesNobody(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		for _, late := range []string{
			"\r\n", "x", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
			"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n", long(100_000),
		} {
			for _, body := range []string{"", "body", long(100_000)} {
				tr := g.transport()
				p := fill(t, g, tr, 1)[0]
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					_, _ = io.WriteString(p, late)
				}()
				awaitArrival(t, tr)
				done := start(tr, post(t, strings.NewReader(body)))
				g.accept().answer(ok)
				receive(t, done, "the answer").wantOK(t, "ok")
				receive(t, sent, "the end of what comes late")
				if got, _ := io.ReadAll(p.r); len(got) > 0 {
					t.Errorf("%.20q is late: %.20q is sent after it", late, got)
				}
				tr.Close()
				testkit.WaitFor(t, "the count", func() bool { return tr.Stats() == Stats{} })
			}
		}
	})
}

// TestSecondAnswerReachesNobody if it comes together with the first.
func TestSecondAnswerReachesNobody(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		const poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
		for method, first := range map[string]string{
			"GET": ok, "HEAD": "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "POST": "HTTP/1.1 204 No Content\r\n\r\n",
			"PUT":     "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n",
			"OPTIONS": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		} {
			tr := g.transport()
			done := start(tr, request(t, method, nil))
			p := g.accept()
			p.answer(first + poison)
			if o := receive(t, done, "the answer"); o.err != nil || strings.Contains(o.body, "poison") {
				t.Errorf("%s: %+v", method, o)
			}
			p.wantClosed()
			wantStats(t, tr, 0, 0)
			done = start(tr, get(t))
			g.accept().answer(ok)
			receive(t, done, "the answer").wantOK(t, "ok")
			tr.Close()
		}
	})
}

// TestGreetingIsNoAnswer of a server that speaks first: it speaks another protocol.
func TestGreetingIsNoAnswer(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		greeted := make(chan struct{})
		dial := tr.Dial
		tr.Dial = func(ctx context.Context) (conn net.Conn, err error) {
			conn, err = dial(ctx)
			if err == nil {
				<-greeted
				c := newConn(tr, conn)
				testkit.WaitFor(t, "the greeting", func() bool { return !c.socket.quiet() })
			}
			return conn, err
		}
		done := start(tr, get(t))
		p := g.accept()
		p.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		close(greeted)
		if o := receive(t, done, "the outcome"); !errors.Is(o.err, ErrClosed) {
			t.Errorf("%+v, want %v", o, ErrClosed)
		}
		p.wantClosed()
	})
}

// TestUnsafeRequestDoesNotTrustAnOldConnection because the target may close it in
// the very moment in which the request is written.
func TestUnsafeRequestDoesNotTrustAnOldConnection(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		p := fill(t, g, tr, 1)[0]
		age(tr, trustedIdle+time.Millisecond)
		// A safe one does: it can be repeated.
		done := start(tr, get(t))
		p.answer(ok)
		receive(t, done, "the answer").wantOK(t, "ok")
		// One that has just been used is trusted.
		done = start(tr, post(t, strings.NewReader("body")))
		p.answer(ok)
		receive(t, done, "the answer").wantOK(t, "ok")
		wantStats(t, tr, 1, 1)

		age(tr, trustedIdle+time.Millisecond)
		for i, req := range []*http.Request{
			post(t, nil), post(t, strings.NewReader("body")), request(t, http.MethodDelete, nil), request(t, http.MethodPut, nil),
			request(t, http.MethodGet, strings.NewReader("of which a part would be missing")), request(t, "PURGE", nil),
		} {
			done = start(tr, req)
			fresh := g.accept()
			fresh.answer("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
			receive(t, done, "the answer").wantOK(t, "ok")
			wantStats(t, tr, 1, 1)
			if t.Failed() {
				t.Fatalf("request %d", i)
			}
		}
	})
}

// TestTargetThatClosesConnectionsIsDistrusted for a while, by requests that cannot
// be repeated.
func TestTargetThatClosesConnectionsIsDistrusted(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		for name, next := range map[string]*http.Request{"GET": get(t), "POST": post(t, strings.NewReader("body"))} {
			tr := g.transport()
			peers := fill(t, g, tr, 2)
			_ = peers[1].Close()
			awaitArrival(t, tr)
			done := start(tr, next) // finds the dead one
			peers[0].answer(ok)
			receive(t, done, "the answer").wantOK(t, "ok")
			wantStats(t, tr, 1, 1)

			done = start(tr, post(t, strings.NewReader("body")))
			fresh := g.accept()
			fresh.answer(ok)
			receive(t, done, "the answer").wantOK(t, "ok")
			wantStats(t, tr, 2, 2)
			done = start(tr, get(t))
			fresh.answer(ok)
			receive(t, done, "the answer").wantOK(t, "ok")

			if until := tr.distrustUntil.Load() - time.Now().UnixNano(); until <= 0 || until > int64(distrust) {
				t.Errorf("%s: distrusted for %s", name, time.Duration(until))
			}
			tr.distrustUntil.Store(time.Now().UnixNano())
			done = start(tr, post(t, strings.NewReader("body")))
			fresh.answer(ok)
			receive(t, done, "the answer").wantOK(t, "ok")
			wantStats(t, tr, 2, 2)
			tr.Close()
		}
	})
}
