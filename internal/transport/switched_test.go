package transport

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"

func TestUpgradedConnectionBelongsToTheCaller(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		for _, early := range []string{"", "e", long(1000), long(readerSize - len(switching))} {
			tr := g.transport()
			tr.ResponseHeaderTimeout = 200 * time.Millisecond
			ctx, cancel := newWatchedContext(t)
			resps := make(chan *http.Response, 1)
			go func() {
				req := withField(withField(get(t), "Connection", "Upgrade"), "Upgrade", "echo")
				resp, err := tr.RoundTrip(req.WithContext(ctx))
				if err != nil {
					t.Error(err)
				}
				resps <- resp
			}()
			p := g.accept()
			p.request()
			p.send(switching + early)
			resp := receive(t, resps, "the answer")
			if resp == nil {
				return
			}
			u, is := resp.Body.(*Switched)
			if !is || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Upgrade") != "echo" {
				t.Fatalf("%+v", resp)
			}
			wantStats(t, tr, 1, 0)
			if u.Pending() != (early != "") {
				t.Errorf("with %d early bytes, pending is %v", len(early), u.Pending())
			}
			// It outlives the request, and has no time limit.
			cancel(errGone)
			tr.Close()
			time.Sleep(tr.ResponseHeaderTimeout + patience) // it is time that has to pass here
			if n, err := u.Read(nil); n != 0 || err != nil {
				t.Errorf("reading nothing: %d, %v", n, err)
			}
			var got bytes.Buffer
			for _, size := range []int{1, 2, 300, 1 << 20} {
				b := make([]byte, size)
				if got.Len() < len(early) {
					n, err := u.Read(b)
					if err != nil {
						t.Fatal(err)
					}
					got.Write(b[:n])
				}
			}
			if got.String() != early || u.Pending() {
				t.Errorf("%d of %d early bytes, still pending: %v", got.Len(), len(early), u.Pending())
			}
			if _, err := io.WriteString(u, "ping"); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 4)
			if _, err := io.ReadFull(p.r, b); err != nil || string(b) != "ping" {
				t.Fatalf("%q, %v", b, err)
			}
			p.send("pong")
			if _, err := io.ReadFull(u, b); err != nil || string(b) != "pong" {
				t.Fatalf("%q, %v", b, err)
			}
			if conn, is := u.NetConn().(interface{ CloseWrite() error }); !is {
				t.Error("it cannot be closed in one direction")
			} else if err := conn.CloseWrite(); err != nil {
				t.Error(err)
			}
			p.wantClosed()
			_ = p.Close()
			if _, err := u.Read(b); err != io.EOF {
				t.Errorf("at the end: %v", err)
			}
			_, _ = u.Close(), u.Close()
			wantStats(t, tr, 0, 0)
			if _, err := u.Write(b); !errors.Is(err, net.ErrClosed) {
				t.Errorf("after the end: %v", err)
			}
		}
	})
}

// TestSwitchInTheMiddleOfARequestIsRefused since nobody knows where the request ends.
func TestSwitchInTheMiddleOfARequestIsRefused(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		body := slowBody{make(chan string)}
		defer close(body.pieces)
		done := start(tr, post(t, body))
		p := g.accept()
		p.head()
		p.send(switching)
		if o := receive(t, done, "the refusal"); !errors.Is(o.err, ErrMalformed) {
			t.Errorf("%+v", o)
		}
		p.wantClosed()
		wantStats(t, tr, 0, 0)
	})
}

// TestSwitchMayFollowAWholeRequest with a body.
func TestSwitchMayFollowAWholeRequest(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		resps := make(chan *http.Response, 1)
		go func() {
			resp, err := tr.RoundTrip(post(t, strings.NewReader("body")))
			if err != nil {
				t.Error(err)
			}
			resps <- resp
		}()
		p := g.accept()
		p.answer("HTTP/1.1 103 Early Hints\r\n\r\n" + switching)
		if resp := receive(t, resps, "the answer"); resp != nil {
			_ = resp.Body.Close()
		}
		p.wantClosed()
		wantStats(t, tr, 0, 0)
	})
}
