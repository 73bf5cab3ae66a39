package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestGetThatMetADyingConnectionIsRepeatedOnce and on a new connection, since other
// pooled ones may have died as well.
func TestGetThatMetADyingConnectionIsRepeatedOnce(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, ""} {
			for name, die := range map[string]func(*peer){"reset": (*peer).reset, "closed": func(p *peer) { _ = p.Close() }} {
				tr := g.transport()
				peers := fill(t, g, tr, 2)
				done := start(tr, request(t, method, nil))
				if req, _ := peers[1].request(); req.Method != method && method != "" {
					t.Fatalf("%s arrives as %s", method, req.Method)
				}
				die(peers[1])
				fresh := g.accept()
				fresh.answer("HTTP/1.1 204 No Content\r\n\r\n")
				if o := receive(t, done, "the answer"); o.err != nil || o.resp.StatusCode != http.StatusNoContent {
					t.Errorf("%s, %s: %+v", method, name, o)
				}
				wantStats(t, tr, 2, 2)
				tr.Close()
				peers[0].wantClosed() // nothing was tried on it
			}
		}
	})
}

// TestRepeatedGetIsNotRepeatedAgain when the new connection dies as well.
func TestRepeatedGetIsNotRepeatedAgain(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		peers := fill(t, g, tr, 2)
		done := start(tr, get(t))
		peers[1].request()
		peers[1].reset()
		fresh := g.accept()
		fresh.request()
		fresh.reset()
		if o := receive(t, done, "the outcome"); !errors.Is(o.err, ErrClosed) {
			t.Errorf("%+v, want %v", o, ErrClosed)
		}
		wantStats(t, tr, 1, 1)
	})
}

func TestGetOnANewConnectionIsNotRepeated(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		done := start(tr, get(t))
		p := g.accept()
		p.request()
		p.reset()
		if o := receive(t, done, "the outcome"); !errors.Is(o.err, ErrClosed) {
			t.Errorf("%+v, want %v", o, ErrClosed)
		}
		wantStats(t, tr, 0, 0)
		if len(g.accepted) > 0 {
			t.Error("it is repeated")
		}
	})
}

// TestPostIsDeliveredOnce if the target dies when it has got it.
func TestPostIsDeliveredOnce(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		unsafe := map[string]func() *http.Request{
			"POST":             func() *http.Request { return post(t, nil) },
			"POST with a body": func() *http.Request { return post(t, strings.NewReader("body")) },
			"chunked POST":     func() *http.Request { return post(t, struct{ io.Reader }{strings.NewReader("body")}) },
			"large POST":       func() *http.Request { return post(t, strings.NewReader(long(1<<20))) },
			"PUT":              func() *http.Request { return request(t, http.MethodPut, nil) },
			"DELETE":           func() *http.Request { return request(t, http.MethodDelete, nil) },
			"GET with a body":  func() *http.Request { return request(t, http.MethodGet, strings.NewReader("body")) },
			"POST with a key": func() *http.Request {
				req := post(t, nil)
				req.Header.Set("Idempotency-Key", "1")
				return req
			},
		}
		for name, req := range unsafe {
			for _, whole := range []bool{true, false} {
				tr := g.transport()
				peers := fill(t, g, tr, 2)
				done := start(tr, req())
				if whole {
					peers[1].request()
				} else {
					_, _ = peers[1].r.ReadByte()
				}
				peers[1].reset()
				if o := receive(t, done, "the outcome"); o.err == nil || errors.Is(o.err, io.EOF) {
					t.Errorf("%s: %+v, want an error", name, o)
				}
				if len(g.accepted) > 0 {
					t.Errorf("%s is repeated", name)
				}
				wantStats(t, tr, 1, 1)
				tr.Close()
				peers[0].wantClosed()
			}
		}
	})
}

// TestNothingIsRepeatedOnceTheAnswerHasBegun be it with a single byte, or with an
// informational answer.
func TestNothingIsRepeatedOnceTheAnswerHasBegun(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		for _, beginning := range []string{
			"H", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n",
		} {
			tr := g.transport()
			p := fill(t, g, tr, 1)[0]
			done := start(tr, get(t))
			p.answer(beginning)
			_ = p.Close()
			o := receive(t, done, "the outcome")
			if o.err == nil || errors.Is(o.err, ErrClosed) || errors.Is(o.err, io.EOF) && !errors.Is(o.err, io.ErrUnexpectedEOF) {
				t.Errorf("%q: %+v, want an error that says that the answer broke off", beginning, o)
			}
			if len(g.accepted) > 0 {
				t.Errorf("%q: it is repeated", beginning)
			}
			wantStats(t, tr, 0, 0)
		}
	})
}

// TestCancelledRequestIsNotRepeated though its connection has died.
func TestCancelledRequestIsNotRepeated(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		p := fill(t, g, tr, 1)[0]
		ctx, cancel := context.WithCancelCause(t.Context())
		done := start(tr, get(t).WithContext(ctx))
		p.request()
		cancel(errGone)
		p.reset()
		if o := receive(t, done, "the outcome"); o.err == nil {
			t.Errorf("%+v, want an error", o)
		}
		if len(g.accepted) > 0 {
			t.Error("it is repeated")
		}
	})
}

// TestErrorOfTheDialIsReturnedAsItIs and the body is closed, as an
// [http.RoundTripper] has to.
func TestErrorOfTheDialIsReturnedAsItIs(t *testing.T) {
	t.Parallel()
	errDial := errors.New("nobody is there")
	tr := &Transport{Dial: func(context.Context) (net.Conn, error) { return nil, errDial }}
	body := &closeWatcher{Reader: strings.NewReader("body")}
	if _, err := tr.RoundTrip(post(t, body)); err != errDial {
		t.Errorf("%v, want %v", err, errDial)
	}
	if !body.closed {
		t.Error("the body is not closed")
	}
	wantStats(t, tr, 0, 0)
}

// closeWatcher is a body that knows that it was closed.
type closeWatcher struct {
	io.Reader
	closed bool
}

func (c *closeWatcher) Close() error {
	c.closed = true
	return nil
}
