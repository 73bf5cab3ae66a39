package transport

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestSmallRequestIsWrittenAtOnce its body included, if that is at hand.
func TestSmallRequestIsWrittenAtOnce(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		for _, n := range []int{0, 1, 100, headSize - 1, headSize} {
			tr := g.transport()
			body := &closeWatcher{Reader: strings.NewReader(long(n))}
			req := post(t, body)
			req.ContentLength = int64(n)
			if n == 0 {
				req.Body = http.NoBody
			}
			done := start(tr, req)
			p := g.accept()
			first := make([]byte, 64<<10)
			k, err := p.Read(first)
			if got := string(first[:k]); err != nil || !strings.HasSuffix(got, "\r\n\r\n"+long(n)) {
				t.Errorf("%d bytes: the first read of the target has %d bytes, %v: %.200q", n, k, err, got)
			}
			p.send(ok)
			receive(t, done, "the answer").wantOK(t, "ok")
			if n > 0 && !body.closed {
				t.Errorf("%d bytes: the body is not closed", n)
			}
			wantStats(t, tr, 1, 1)
			tr.Close()
		}
	})
}

// remoteBody is a body that has not arrived together with its header.
type remoteBody struct{ io.Reader }

func (remoteBody) Close() error { return nil }
func (remoteBody) AtHand() bool { return false }

// TestTargetGetsTheHeadOfABodyThatIsOnItsWay because it may want to answer before
// the body comes.
func TestTargetGetsTheHeadOfABodyThatIsOnItsWay(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		body := slowBody{make(chan string, 1)}
		req := post(t, remoteBody{body})
		req.ContentLength = 4
		done := start(tr, req)
		p := g.accept()
		if head := p.head(); !strings.Contains(head, "Content-Length: 4\r\n") {
			t.Errorf("%q", head)
		}
		body.pieces <- "body"
		b := make([]byte, 4)
		if _, err := io.ReadFull(p.r, b); err != nil || string(b) != "body" {
			t.Errorf("%q, %v", b, err)
		}
		p.send(ok)
		receive(t, done, "the answer").wantOK(t, "ok")
	})
}

func TestBodiesArriveWhole(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		for _, n := range []int{headSize + 1, uploadBufferSize - 1, uploadBufferSize, uploadBufferSize + 1, 3<<20 + 7} {
			for _, chunked := range []bool{false, true} {
				tr := g.transport()
				req := post(t, strings.NewReader(long(n)))
				if chunked {
					req.ContentLength = -1
				}
				done := start(tr, req)
				p := g.accept()
				got, body := p.request()
				if body != long(n) || chunked != (got.ContentLength < 0) || chunked != (len(got.TransferEncoding) > 0) {
					t.Errorf("%d bytes, chunked %v: %d bytes arrive, %v", n, chunked, len(body), got.Header)
				}
				p.send(ok)
				receive(t, done, "the answer").wantOK(t, "ok")
				tr.Close()
			}
		}
	})
}

// TestTrailersOfAnUploadArrive with the values that are known when it ends.
func TestTrailersOfAnUploadArrive(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		body := slowBody{make(chan string)}
		req := post(t, body)
		req.Trailer = http.Header{"X-Sum": nil, "X-Never": nil}
		done := start(tr, req)
		body.pieces <- "some"
		req.Trailer["X-Sum"] = []string{"42", "43"}
		close(body.pieces)
		p := g.accept()
		got, all := p.request()
		if all != "some" || strings.Join(got.Trailer["X-Sum"], ",") != "42,43" || len(got.Trailer["X-Never"]) > 0 {
			t.Errorf("%q with %v", all, got.Trailer)
		}
		p.send(ok)
		receive(t, done, "the answer").wantOK(t, "ok")
	})
}

// TestEveryPieceOfALiveUploadIsAChunk that is sent at once.
func TestEveryPieceOfALiveUploadIsAChunk(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		body := slowBody{make(chan string)}
		done := start(tr, post(t, body))
		p := g.accept()
		p.head()
		for _, piece := range []string{"a", "bc", strings.Repeat("d", 16)} {
			body.pieces <- piece
			size := map[int]string{1: "1", 2: "2", 16: "10"}[len(piece)]
			want := size + "\r\n" + piece + "\r\n"
			got := make([]byte, len(want))
			if _, err := io.ReadFull(p.r, got); err != nil || string(got) != want {
				t.Fatalf("%q arrives, %v, want %q", got, err, want)
			}
		}
		close(body.pieces)
		end := make([]byte, 5)
		if _, err := io.ReadFull(p.r, end); err != nil || string(end) != "0\r\n\r\n" {
			t.Errorf("ends with %q, %v", end, err)
		}
		p.send(ok)
		receive(t, done, "the answer").wantOK(t, "ok")
	})
}

func expecting(t testing.TB, body io.Reader, length int64) *http.Request {
	req := post(t, body)
	req.ContentLength = length
	req.Header.Set("Expect", "100-continue")
	return req
}

func TestBodyWaitsToBeAskedFor(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		for _, length := range []int64{4, -1} {
			tr := g.transport()
			body := slowBody{make(chan string)}
			done := start(tr, expecting(t, body, length))
			p := g.accept()
			if head := p.head(); !strings.Contains(head, "Expect: 100-continue\r\n") || p.r.Buffered() > 0 {
				t.Errorf("%q, and %d bytes", head, p.r.Buffered())
			}
			select {
			case body.pieces <- "body":
				t.Error("the body is read before it is asked for")
			default:
			}
			p.send("HTTP/1.1 100 Continue\r\n\r\n")
			body.pieces <- "body"
			close(body.pieces)
			want := "body"
			if length < 0 {
				want = "4\r\nbody\r\n0\r\n\r\n"
			}
			got := make([]byte, len(want))
			if _, err := io.ReadFull(p.r, got); err != nil || string(got) != want {
				t.Errorf("%q arrives, %v", got, err)
			}
			p.send(ok)
			receive(t, done, "the answer").wantOK(t, "ok")
			tr.Close()
		}
	})
}

// TestBodyWaitsNoLongerThanASecond for a target that never asks.
func TestBodyWaitsNoLongerThanASecond(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		begin := time.Now()
		done := start(tr, expecting(t, strings.NewReader("body"), 4))
		p := g.accept()
		p.answer(ok)
		if took := time.Since(begin); took < continueTimeout || took > continueTimeout+5*time.Second {
			t.Errorf("the body comes after %s", took)
		}
		receive(t, done, "the answer").wantOK(t, "ok")
	})
}

// TestBodyThatIsNotWantedIsNotSent and the connection not used again, on which the
// target may still wait for it.
func TestBodyThatIsNotWantedIsNotSent(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		for _, answer := range []string{
			"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno", "HTTP/1.1 204 No Content\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
		} {
			tr := g.transport()
			body := &closeWatcher{Reader: brokenBody{t}}
			done := start(tr, expecting(t, body, 4))
			p := g.accept()
			p.head()
			p.send(answer)
			if o := receive(t, done, "the answer"); o.err != nil || o.resp.StatusCode == 204 != (o.body == "") {
				t.Errorf("%+v", o)
			}
			p.wantClosed()
			wantStats(t, tr, 0, 0)
		}
	})
}

// TestBodyThatWasNotWantedCostsTheConnection also if the answer takes its time.
func TestBodyThatWasNotWantedCostsTheConnection(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		resps := make(chan *http.Response, 1)
		go func() {
			resp, err := tr.RoundTrip(expecting(t, brokenBody{t}, 4))
			if err != nil {
				t.Error(err)
			}
			resps <- resp
		}()
		p := g.accept()
		p.head()
		p.send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n")
		resp := receive(t, resps, "the head")
		<-resp.Body.(*Body).up.done
		p.send("no")
		if b, err := io.ReadAll(resp.Body); string(b) != "no" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
		p.wantClosed()
		wantStats(t, tr, 0, 0)
	})
}

// brokenBody fails a test that reads it.
type brokenBody struct{ t testing.TB }

func (b brokenBody) Read([]byte) (int, error) {
	b.t.Error("the body is read")
	return 0, io.EOF
}

// TestAnswerMayComeBeforeTheUploadEnds and is passed on. The connection is not used
// again.
func TestAnswerMayComeBeforeTheUploadEnds(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		for name, length := range map[string]int64{"length": 100, "chunked": -1} {
			tr := g.transport()
			body := slowBody{make(chan string)}
			req := post(t, body)
			req.ContentLength = length
			done := start(tr, req)
			body.pieces <- "some"
			p := g.accept()
			p.head()
			p.send(ok)
			o := receive(t, done, "the answer")
			o.wantOK(t, "ok")
			rest := p.rest()
			if length > 0 && len(rest) >= 100 || strings.HasSuffix(rest, "0\r\n\r\n") {
				t.Errorf("%s: the request looks complete: %q", name, rest)
			}
			wantStats(t, tr, 0, 0)
			close(body.pieces)
		}
	})
}

// TestAnswerGoesOnWhileTheUploadDoes as of an app that sends back what it gets.
func TestAnswerGoesOnWhileTheUploadDoes(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		body := slowBody{make(chan string)}
		resps := make(chan *http.Response, 1)
		go func() {
			resp, err := tr.RoundTrip(post(t, body))
			if err != nil {
				t.Error(err)
			}
			resps <- resp
		}()
		p := g.accept()
		p.head()
		p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		resp := receive(t, resps, "the head")
		defer resp.Body.Close()
		for range 50 {
			body.pieces <- "ping"
			chunk := make([]byte, len("4\r\nping\r\n"))
			if _, err := io.ReadFull(p.r, chunk); err != nil {
				t.Fatal(err)
			}
			p.send(string(chunk))
			back := make([]byte, 4)
			if _, err := io.ReadFull(resp.Body, back); err != nil || string(back) != "ping" {
				t.Fatalf("%q comes back, %v", back, err)
			}
		}
		close(body.pieces)
		p.send("0\r\n\r\n")
		if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
			t.Errorf("%q, %v", rest, err)
		}
	})
}

// failingBody fails behind its first bytes.
type failingBody struct {
	io.Reader
	err error
}

func (b failingBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = b.err
	}
	return n, err
}

// TestTornUploadDoesNotLookComplete to the target, and is blamed on the body.
func TestTornUploadDoesNotLookComplete(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		errTorn := errors.New("torn")
		for _, n := range []int{0, 1, 100, headSize, 100_000} {
			for _, length := range []int64{int64(n) + 10, -1} {
				for name, err := range map[string]error{"fails": errTorn, "is too short": io.EOF} {
					if length < 0 && err == io.EOF {
						continue // that is how a chunked body ends
					}
					for _, reused := range []bool{false, true} {
						tr := g.transport()
						var p *peer
						if reused {
							p = fill(t, g, tr, 1)[0]
						}
						req := post(t, failingBody{strings.NewReader(long(n)), err})
						req.ContentLength = length
						done := start(tr, req)
						if !reused {
							p = g.accept()
						}
						if got, err := http.ReadRequest(p.r); err == nil {
							if all, err := io.ReadAll(got.Body); err == nil {
								t.Errorf("a body of %d bytes, length %d, %s: the target believes that %d bytes are everything", n, length, name, len(all))
							}
						}
						o := receive(t, done, "the outcome")
						want := err
						if want == io.EOF {
							want = io.ErrUnexpectedEOF
						}
						if _, ok := errors.AsType[*BodyError](o.err); !ok || !errors.Is(o.err, want) {
							t.Errorf("a body of %d bytes, length %d, %s: ended with %v", n, length, name, o.err)
						}
						wantStats(t, tr, 0, 0)
					}
				}
			}
		}
	})
}

// TestInvalidTrailerTearsTheUpload instead of ending it without.
func TestInvalidTrailerTearsTheUpload(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		for _, trailer := range []http.Header{{"X": {"a\r\nb"}}, {"X Y": {"a"}}, {"Content-Length": {"1"}}} {
			tr := g.transport()
			body := slowBody{make(chan string)}
			req := post(t, body)
			req.Trailer = make(http.Header)
			done := start(tr, req)
			p := g.accept()
			p.head()
			for name, values := range trailer {
				req.Trailer[name] = values
			}
			close(body.pieces)
			if o := receive(t, done, "the outcome"); o.err == nil {
				t.Errorf("%v: %+v", trailer, o)
			}
			if rest := p.rest(); rest != "" {
				t.Errorf("%v: the target gets %q", trailer, rest)
			}
		}
	})
}

// TestTargetThatStopsReadingMayHaveAnswered and then hung up.
func TestTargetThatStopsReadingMayHaveAnswered(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		g.narrow.Store(true)
		tr := g.transport()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := start(tr, post(t, strings.NewReader(long(4<<20))).WithContext(ctx))
		p := g.accept()
		p.head()
		p.send("HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
		_ = p.Conn.(interface{ CloseWrite() error }).CloseWrite()
		if o := receive(t, done, "the answer"); o.err != nil || o.resp.StatusCode != 413 || o.body != "no" {
			t.Errorf("%+v", o)
		}
		_ = p.rest()
		wantStats(t, tr, 0, 0)
	})
}

// TestRequestThatIsOverIsNotSent: the target may have made way for another meanwhile.
func TestRequestThatIsOverIsNotSent(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		for name, length := range map[string]int64{"small": 4, "large": 4 + headSize} {
			tr := g.transport()
			body := slowBody{make(chan string)}
			req := post(t, body)
			req.ContentLength = length
			ctx, cancel := context.WithCancelCause(t.Context())
			done := start(tr, req.WithContext(ctx))
			p := g.accept()
			cancel(errGone)
			body.pieces <- "body"
			if o := receive(t, done, "the outcome"); !errors.Is(o.err, errGone) {
				t.Errorf("%s: %+v, want %v", name, o, errGone)
			}
			p.wantClosed()
		}
	})
}

// TestConnectionMayEndWhileTheClientIsSlow because servers close connections that are
// silent for some time, and nothing of the request is lost with them.
func TestConnectionMayEndWhileTheClientIsSlow(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		body := slowBody{make(chan string)}
		req := post(t, body)
		req.ContentLength = 4
		done := start(tr, req)
		_ = g.accept().Close()
		body.pieces <- "body"
		p := g.accept()
		if _, got := p.request(); got != "body" {
			t.Errorf("%q arrives", got)
		}
		p.send(ok)
		receive(t, done, "the answer").wantOK(t, "ok")

		// A target that does so at once is not tried for ever, and no other request
		// pays for it.
		tr.CloseIdleConnections()
		req = post(t, body)
		req.ContentLength = 4
		done = start(tr, req)
		_ = g.accept().Close()
		body.pieces <- "body"
		_ = g.accept().Close()
		if o := receive(t, done, "the outcome"); o.err == nil {
			t.Fatalf("%+v, want an error", o)
		}
		if tr.distrustUntil.Load() != 0 {
			t.Error("the next requests get new connections, though no used one was found closed")
		}
		wantStats(t, tr, 0, 0)
	})
}

// TestBodyThatWasNotAskedForIsNotReadAfterAFailure since the request may be on its way
// to somebody else by then.
func TestBodyThatWasNotAskedForIsNotReadAfterAFailure(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		body := &observedBody{closed: make(chan struct{})}
		req := request(t, http.MethodGet, body)
		req.ContentLength = 4
		req.Header.Set("Expect", "100-continue")
		begin := time.Now()
		done := start(tr, req)
		p := g.accept()
		p.head()
		_ = p.Close()
		if o := receive(t, done, "the outcome"); !errors.Is(o.err, ErrClosed) {
			t.Errorf("%+v, want %v", o, ErrClosed)
		}
		receive(t, body.closed, "the body to be closed")
		if n := body.reads.Load(); n > 0 && time.Since(begin) < continueTimeout {
			t.Errorf("it is read %d times", n)
		}
	})
}

// observedBody is a body without an end that knows what was done with it.
type observedBody struct {
	reads  atomic.Int32
	closed chan struct{}
}

func (b *observedBody) Read(p []byte) (int, error) {
	b.reads.Add(1)
	return len(p), nil
}

func (b *observedBody) Close() error {
	close(b.closed)
	return nil
}
