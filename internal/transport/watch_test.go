package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/testkit"
)

// wantTimeout fails the test unless err says that the target was too slow, after
// limit and not much later.
func wantTimeout(t testing.TB, err error, took, limit time.Duration) {
	t.Helper()
	if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("limit %s: ended with %v, want a timeout of ours", limit, err)
	}
	if took < limit || took > limit+5*time.Second {
		t.Errorf("limit %s: ended after %s", limit, took)
	}
}

// TestTargetHasItsTimeToAnswerAndNoMore whether that is shorter than our patience
// or longer.
func TestTargetHasItsTimeToAnswerAndNoMore(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		for _, limit := range []time.Duration{time.Millisecond, 20 * time.Millisecond, patience, patience + 50*time.Millisecond} {
			for _, reused := range []bool{false, true} {
				tr := g.transport()
				tr.ResponseHeaderTimeout = testTimeout // while the connection is made
				var p *peer
				if reused {
					p = fill(t, g, tr, 1)[0]
				}
				tr.ResponseHeaderTimeout = limit
				begin := time.Now()
				done := start(tr, get(t))
				if !reused {
					p = g.accept()
				}
				o := receive(t, done, "the timeout")
				wantTimeout(t, o.err, time.Since(begin), limit)
				p.rest()
				wantStats(t, tr, 0, 0)
			}
		}
	})
}

// TestTimeToAnswerEndsWithTheHead of the final answer. Informational ones do not
// end it, and the body takes as long as it likes.
func TestTimeToAnswerEndsWithTheHead(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		tr.ResponseHeaderTimeout = 300 * time.Millisecond
		resps := make(chan *http.Response, 1)
		go func() {
			resp, err := tr.RoundTrip(get(t))
			if err != nil {
				t.Error(err)
			}
			resps <- resp
		}()
		p := g.accept()
		p.answer("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
		resp := receive(t, resps, "the head")
		if resp == nil {
			return
		}
		defer resp.Body.Close()
		waits := make(chan struct{}, 10)
		resp.Body.(*Body).OnWait(func() { waits <- struct{}{} }, false)
		go func() {
			<-waits
			time.Sleep(2 * tr.ResponseHeaderTimeout) // it is time that has to pass here
			p.send("body")
		}()
		if b, err := io.ReadAll(resp.Body); string(b) != "body" || err != nil {
			t.Errorf("the body is %q, %v", b, err)
		}
		wantStats(t, tr, 1, 1)

		begin := time.Now()
		done := start(tr, get(t))
		p.request()
		stop := make(chan struct{})
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
					_, _ = io.WriteString(p, "HTTP/1.1 102 Processing\r\n\r\n")
				}
			}
		}()
		o := receive(t, done, "the timeout")
		close(stop)
		wantTimeout(t, o.err, time.Since(begin), tr.ResponseHeaderTimeout)
	})
}

// TestDribblingTargetIsTimedOut though it sends something all the time.
func TestDribblingTargetIsTimedOut(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		tr.ResponseHeaderTimeout = 300 * time.Millisecond
		begin := time.Now()
		done := start(tr, get(t))
		p := g.accept()
		p.request()
		go func() {
			_, err := io.WriteString(p, "HTTP/1.1 200 OK\r\nX: ")
			for err == nil {
				_, err = io.WriteString(p, "x")
				time.Sleep(10 * time.Millisecond)
			}
		}()
		o := receive(t, done, "the timeout")
		wantTimeout(t, o.err, time.Since(begin), tr.ResponseHeaderTimeout)
	})
}

// slowBody is a body that comes when a test says so.
type slowBody struct{ pieces chan string }

func (b slowBody) Read(p []byte) (int, error) {
	s, more := <-b.pieces
	if !more {
		return 0, io.EOF
	}
	return copy(p, s), nil
}

// TestSlowClientIsNotTheTargetsFault: the time to answer begins when the target has
// the request.
func TestSlowClientIsNotTheTargetsFault(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		for name, length := range map[string]int64{"small": 4, "large": 4 + headSize, "chunked": -1} {
			tr := g.transport()
			tr.ResponseHeaderTimeout = 400 * time.Millisecond
			body := slowBody{make(chan string)}
			req := post(t, body)
			req.ContentLength = length
			done := start(tr, req)
			if length != 4 {
				body.pieces <- "some"
			}
			time.Sleep(tr.ResponseHeaderTimeout + patience) // it is time that has to pass here
			if length == 4 {
				body.pieces <- "some"
			}
			if length > 4 {
				body.pieces <- long(headSize)
			}
			close(body.pieces)
			g.accept().answer(ok)
			if o := receive(t, done, "the answer"); o.err != nil || o.body != "ok" {
				t.Errorf("%s: %+v", name, o)
			}
			tr.Close()
		}
	})
}

func TestTargetThatStopsTakingTheRequestIsTimedOut(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		g.narrow.Store(true)
		for name, req := range map[string]*http.Request{
			"head": withField(get(t), "X-Large", long(4<<20)), "body": post(t, strings.NewReader(long(4<<20))),
			"chunked": post(t, struct{ io.Reader }{strings.NewReader(long(4 << 20))}),
		} {
			tr := g.transport()
			tr.ResponseHeaderTimeout = 100 * time.Millisecond
			begin := time.Now()
			o := receive(t, start(tr, req), "the timeout")
			if name == "head" {
				wantTimeout(t, o.err, time.Since(begin), tr.ResponseHeaderTimeout)
			} else {
				// It may have answered before it stopped, and has a second to say so.
				wantTimeout(t, o.err, time.Since(begin), tr.ResponseHeaderTimeout+continueTimeout)
			}
			g.accept().rest()
			wantStats(t, tr, 0, 0)
		}
	})
}

func withField(req *http.Request, name, value string) *http.Request {
	req.Header[name] = append(req.Header[name], value)
	return req
}

// TestCancelledExchangeEndsSoon wherever it is, with the cause of the cancellation.
func TestCancelledExchangeEndsSoon(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		for name, tt := range map[string]struct {
			body io.Reader
			// stuck is for a request body that does not come.
			stuck bool
			// patient waits until the context is watched.
			patient bool
			answer  string
		}{
			"waits for the head":                  {},
			"waits for the head for long":         {patient: true},
			"waits for the rest of the head":      {answer: "HTTP/1.1 200 OK\r\nX"},
			"waits for the answer after a hint":   {answer: "HTTP/1.1 103 Early Hints\r\n\r\n", patient: true},
			"waits for the body":                  {answer: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"},
			"waits for the body for long":         {answer: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", patient: true},
			"waits for a chunk":                   {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha", patient: true},
			"waits for the trailer":               {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", patient: true},
			"waits for the end of the connection": {answer: "HTTP/1.0 200 OK\r\n\r\nhalf", patient: true},
			"waits for the head after an upload":  {body: strings.NewReader(long(100_000)), patient: true},
			"reads the request body":              {stuck: true, patient: true},
			"answered before the body":            {stuck: true, patient: true, answer: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"},
		} {
			tr := g.transport()
			ctx, cancel := newWatchedContext(t)
			if tt.stuck {
				body := slowBody{make(chan string)}
				defer close(body.pieces)
				tt.body = body
			}
			req := post(t, tt.body).WithContext(ctx)
			done := start(tr, req)
			p := g.accept()
			p.head()
			if tt.answer != "" {
				p.send(tt.answer)
			}
			if tt.patient {
				receive(t, ctx.watched, "someone to watch the context")
			}
			begin := time.Now()
			cancel(errGone)
			if o := receive(t, done, "the end"); o.err != errGone {
				t.Errorf("%s: ended with %v, want the cause", name, o.err)
			}
			if took := time.Since(begin); took > patience+5*time.Second {
				t.Errorf("%s: ended after %s", name, took)
			}
			if strings.Contains(name, "upload") {
				p.rest()
			} else {
				p.wantClosed()
			}
			wantStats(t, tr, 0, 0)
		}
	})
}

// TestCancelledDialEnds because it gets the context of the request.
func TestCancelledDialEnds(t *testing.T) {
	t.Parallel()
	dialling := make(chan struct{})
	tr := &Transport{Dial: func(ctx context.Context) (net.Conn, error) {
		close(dialling)
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}}
	ctx, cancel := context.WithCancelCause(t.Context())
	done := start(tr, get(t).WithContext(ctx))
	<-dialling
	cancel(errGone)
	if o := receive(t, done, "the end"); o.err != errGone {
		t.Errorf("ended with %v, want the cause", o.err)
	}
	wantStats(t, tr, 0, 0)
}

// TestCancellationThatComesTooLateHarmsNobody on the same connection.
func TestCancellationThatComesTooLateHarmsNobody(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		g.serve(func(_ int, req *http.Request) string {
			if req.Header.Get("X-Wait") != "" {
				time.Sleep(patience + 20*time.Millisecond) // long enough to be watched
			}
			return ok
		})
		tr := g.transport()
		for i := range 300 {
			ctx, cancel := context.WithCancel(t.Context())
			req := get(t).WithContext(ctx)
			if i%100 == 0 {
				req.Header.Set("X-Wait", "yes")
			}
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			go cancel()
			if _, err := io.ReadAll(resp.Body); err != nil && !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			do(tr, get(t)).wantOK(t, "ok")
		}
	})
}

// TestConnectionOfACancelledExchangeIsNotKept though its answer was complete.
func TestConnectionOfACancelledExchangeIsNotKept(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		ctx, cancel := newWatchedContext(t)
		resps := make(chan *http.Response, 1)
		go func() {
			resp, err := tr.RoundTrip(get(t).WithContext(ctx))
			if err != nil {
				t.Error(err)
			}
			resps <- resp
		}()
		p := g.accept()
		p.request()
		receive(t, ctx.watched, "someone to watch the context")
		p.send(ok)
		resp := receive(t, resps, "the answer")
		w := &resp.Body.(*Body).c.watch
		cancel(errGone)
		testkit.WaitFor(t, "the interruption", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.over
		})
		if b, err := io.ReadAll(resp.Body); string(b) != "ok" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
		p.wantClosed()
		wantStats(t, tr, 0, 0)
	})
}
