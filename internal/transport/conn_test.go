package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestLargeHeadsAreRead up to a mebibyte, far beyond the buffer that a connection
// has.
func TestLargeHeadsAreRead(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		const frame = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: \r\n\r\n"
		for _, size := range []int{
			readerSize - 1, readerSize, readerSize + 1, 4*readerSize - 1, 4 * readerSize, 4*readerSize + 1, 300_000, maxHead - 1, maxHead,
		} {
			tr := g.transport()
			value := long(size - len(frame))
			head := strings.Replace(frame, "X: ", "X: "+value, 1)
			done := start(tr, get(t))
			p := g.accept()
			p.answer(head + "ok")
			o := receive(t, done, "the answer")
			o.wantOK(t, "ok")
			if o.resp.Header.Get("X") != value {
				t.Errorf("a head of %d bytes is damaged", size)
			}
			// The connection is as good as any.
			done = start(tr, get(t))
			p.answer(ok)
			receive(t, done, "the answer").wantOK(t, "ok")
			tr.Close()
		}
		for _, filler := range []string{long(maxHead), strings.Repeat("\r\nA: b", maxHead/6)} {
			tr := g.transport()
			done := start(tr, get(t))
			p := g.accept()
			p.request()
			go func() { _, _ = io.WriteString(p, strings.Replace(frame, "X: ", "X: "+filler, 1)) }()
			if o := receive(t, done, "the refusal"); !errors.Is(o.err, ErrMalformed) {
				t.Errorf("a head of more than a mebibyte: %v", o.err)
			}
			wantStats(t, tr, 0, 0)
		}
	})
}

// TestHeadsArriveInPieces of any size.
func TestHeadsArriveInPieces(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		const answer = "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: t\r\n\r\n"
		tr := g.transport()
		p := fill(t, g, tr, 1)[0]
		for size := 1; size < 20; size++ {
			done := start(tr, get(t))
			p.request()
			for rest := answer; rest != ""; {
				n := min(size, len(rest))
				p.send(rest[:n])
				rest = rest[n:]
			}
			o := receive(t, done, "the answer")
			o.wantOK(t, "ok")
			if o.resp.Header.Get("X-A") != "b" || o.resp.Trailer.Get("X-T") != "t" {
				t.Errorf("pieces of %d: %v, %v", size, o.resp.Header, o.resp.Trailer)
			}
			wantStats(t, tr, 1, 1)
		}
	})
}

// TestTargetMayReadAHugeHeadSlowly so that it has to be written bit by bit.
func TestTargetMayReadAHugeHeadSlowly(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		g.narrow.Store(true)
		tr := g.transport()
		p := fill(t, g, tr, 1)[0]
		for _, size := range []int{1 << 20, 3 << 20} {
			ctx, cancel := newWatchedContext(t)
			value := long(size)
			done := start(tr, withField(get(t), "X-Large", value).WithContext(ctx))
			receive(t, ctx.watched, "the transport to notice that the target is slow")
			if req, _ := p.request(); req.Header.Get("X-Large") != value {
				t.Errorf("a header of %d bytes is damaged", size)
			}
			p.send(ok)
			receive(t, done, "the answer").wantOK(t, "ok")
			wantStats(t, tr, 1, 1)
			cancel(nil)
		}
	})
}

// TestHalfWrittenRequestIsWritten when it comes to a repetition: the target has
// seen a part of it.
func TestHalfWrittenRequestIsWritten(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		g.narrow.Store(true)
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			tr := g.transport()
			p := fill(t, g, tr, 1)[0]
			ctx, cancel := newWatchedContext(t)
			defer cancel(nil)
			done := start(tr, withField(request(t, method, nil), "X-Large", long(4<<20)).WithContext(ctx))
			receive(t, ctx.watched, "the transport to notice that the target is slow")
			p.reset()
			if method == http.MethodGet {
				g.accept().answer(ok)
				receive(t, done, "the answer").wantOK(t, "ok")
			} else if o := receive(t, done, "the outcome"); !errors.Is(o.err, ErrClosed) || len(g.accepted) > 0 {
				t.Errorf("%s: %v, repeated %d times", method, o.err, len(g.accepted))
			}
			tr.Close()
		}
	})
}

// TestInformationalAnswersAreReported in order, and bounded.
func TestInformationalAnswersAreReported(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		for _, n := range []int{10, maxInformational, maxInformational + 1} {
			tr := g.transport()
			var got []string
			tell := InformationalFunc(func(status int, h http.Header) error {
				got = append(got, fmt.Sprint(status, " ", h.Get("Link")))
				return nil
			})
			done := start(tr, get(t).WithContext(context.WithValue(t.Context(), InformationalKey, tell)))
			p := g.accept()
			p.request()
			var answer strings.Builder
			for i := range n {
				fmt.Fprintf(&answer, "HTTP/1.1 103 Early Hints\r\nLink: %d\r\n\r\n", i)
			}
			_, _ = io.WriteString(p, answer.String()+ok)
			o := receive(t, done, "the answer")
			if n > maxInformational {
				if !errors.Is(o.err, ErrMalformed) {
					t.Errorf("%d informational answers: %v", n, o.err)
				}
				continue
			}
			o.wantOK(t, "ok")
			for i, line := range got {
				if want := fmt.Sprint("103 ", i); line != want {
					t.Errorf("hint %d is %q", i, line)
				}
			}
			if len(got) != n {
				t.Errorf("%d of %d are reported", len(got), n)
			}
			tr.Close()
		}
	})
}

// TestEndlessContinueIsRefused as any other endless answer is.
func TestEndlessContinueIsRefused(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		done := start(tr, get(t))
		p := g.accept()
		p.request()
		go func() {
			var err error
			for err == nil {
				_, err = io.WriteString(p, "HTTP/1.1 100 Continue\r\n\r\n")
			}
		}()
		if o := receive(t, done, "the refusal"); !errors.Is(o.err, ErrMalformed) {
			t.Errorf("ended with %v", o.err)
		}
	})
}

func TestErrorOfTheInformedEndsTheExchange(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		tell := InformationalFunc(func(int, http.Header) error { return errGone })
		done := start(tr, get(t).WithContext(context.WithValue(t.Context(), InformationalKey, tell)))
		p := g.accept()
		p.answer("HTTP/1.1 103 Early Hints\r\n\r\n")
		if o := receive(t, done, "the end"); o.err != errGone {
			t.Errorf("ended with %v", o.err)
		}
		p.wantClosed()
		wantStats(t, tr, 0, 0)
	})
}

// bareConn is a connection that is no socket.
type bareConn struct{ net.Conn }

// TestConnectionThatIsNoSocketWorks without a look at what has arrived.
func TestConnectionThatIsNoSocketWorks(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		g.tune = func(nc net.Conn) net.Conn { return bareConn{nc} }
		tr := g.transport()
		p := fill(t, g, tr, 1)[0]
		done := start(tr, post(t, strings.NewReader(long(100_000))))
		p.answer(ok)
		receive(t, done, "the answer").wantOK(t, "ok")
		tr.CloseIdleConnections()
		p = fill(t, g, tr, 1)[0]
		_ = p.Close()
		done = start(tr, get(t)) // finds out when it is too late
		g.accept().answer(ok)
		receive(t, done, "the answer").wantOK(t, "ok")
		wantStats(t, tr, 1, 1)
	})
}

// TestLiveAnswerIsFlushedWithoutASocket though there is no way to tell whether a
// read will wait.
func TestLiveAnswerIsFlushedWithoutASocket(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		g.tune = func(nc net.Conn) net.Conn { return bareConn{nc} }
		wantLive(t, g, g.transport())
	})
}

// wantLive fails the test unless everything that has come of an answer is flushed
// before the target is waited for.
func wantLive(t *testing.T, g *target, tr *Transport) {
	t.Helper()
	flushed := make(chan string)
	go func() {
		defer close(flushed)
		resp, err := tr.RoundTrip(get(t))
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		var read strings.Builder
		resp.Body.(*Body).OnWait(func() { flushed <- read.String() }, true)
		if _, err := io.Copy(&read, resp.Body.(io.Reader)); err != nil {
			t.Error(err)
		}
	}()
	p := g.accept()
	p.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	want := ""
	for i := range 20 {
		for got := ""; got != want; {
			got = receive(t, flushed, "a flush")
			if !strings.HasPrefix(want, got) {
				t.Fatalf("%q is flushed", got)
			}
		}
		event := fmt.Sprintf("event %d", i)
		want += event
		p.send(fmt.Sprintf("%x\r\n%s\r\n", len(event), event))
	}
	p.send("0\r\n\r\n")
	for range flushed {
	}
}
