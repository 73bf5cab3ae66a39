package transport

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/testkit"
)

// TestEndOfABodyIsFound by each of the framings, and the connection used again if
// everything about it is certain.
func TestEndOfABodyIsFound(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		const chunkedOK = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		for _, tt := range []struct {
			method, answer string
			body           string
			length         int64
			reused         bool
		}{
			{"GET", ok, "ok", 2, true},
			{"GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", 0, true},
			{"GET", "HTTP/1.1 204 No Content\r\n\r\n", "", -1, true},
			{"GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "", 5, true},
			{"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "", 5, true},
			{"GET", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", "", -1, true},
			{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "", 5, true},
			{"HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "", -1, true},
			{"HEAD", "HTTP/1.1 200 OK\r\n\r\n", "", -1, true},
			{"HEAD", "HTTP/1.0 200 OK\r\n\r\n", "", -1, false},
			{"GET", chunkedOK + "0\r\n\r\n", "", -1, true},
			{"GET", chunkedOK + "2\r\nok\r\n0\r\n\r\n", "ok", -1, true},
			{"GET", chunkedOK + "1;a=b\r\no\r\n1;c;d=\"e f\"\r\nk\r\n0;f\r\n\r\n", "ok", -1, true},
			{"GET", chunkedOK + "00a \t\r\n0123456789\r\nA\r\nabcdefghij\r\n0000\r\n\r\n", "0123456789abcdefghij", -1, true},
			{"GET", chunkedOK + "2\r\nok\r\n0\r\nX-A: b\r\nX-A: c\r\nContent-Length: 7\r\n\r\n", "ok", -1, true},
			{"GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "ok", 2, false},
			{"GET", "HTTP/1.1 200 OK\r\nConnection: x, CLOSE ,y\r\nContent-Length: 2\r\n\r\nok", "ok", 2, false},
			{"GET", "HTTP/1.1 200 OK\r\nConnection: closed\r\nContent-Length: 2\r\n\r\nok", "ok", 2, true},
			{"GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", "ok", 2, false},
			{"GET", chunkedOK[:len(chunkedOK)-2] + "Connection: close\r\n\r\n2\r\nok\r\n0\r\n\r\n", "ok", -1, false},
		} {
			tr := g.transport()
			done := start(tr, request(t, tt.method, nil))
			p := g.accept()
			p.answer(tt.answer)
			o := receive(t, done, "the answer")
			if o.err != nil || o.body != tt.body || o.resp.ContentLength != tt.length || o.resp.Close == tt.reused {
				t.Errorf("%s %q: %+v, length %d, close %v", tt.method, tt.answer, o, o.resp.ContentLength, o.resp.Close)
			}
			if o.resp.Trailer != nil && (strings.Join(o.resp.Trailer["X-A"], ",") != "b,c" || len(o.resp.Trailer) > 1) {
				t.Errorf("%q: trailer %v", tt.answer, o.resp.Trailer)
			}
			if tt.reused {
				wantStats(t, tr, 1, 1)
				done = start(tr, get(t))
				p.answer(ok)
				receive(t, done, "the next answer").wantOK(t, "ok")
				tr.Close()
			}
			p.wantClosed()
			wantStats(t, tr, 0, 0)
		}
	})
}

func TestBodyWithoutALengthEndsWithTheConnection(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		for _, head := range []string{"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n"} {
			tr := g.transport()
			done := start(tr, get(t))
			p := g.accept()
			p.answer(head + long(100_000))
			_ = p.Close()
			receive(t, done, "the answer").wantOK(t, long(100_000))
			wantStats(t, tr, 0, 0)
		}
	})
}

// TestTornBodyDoesNotLookComplete however it is read.
func TestTornBodyDoesNotLookComplete(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		const length, chunks = "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		for _, answer := range []string{
			length, length + "half", length + long(199_999), chunks, chunks + "5", chunks + "5\r\n", chunks + "5\r\nhal", chunks + "4\r\nhalf",
			chunks + "4\r\nhalf\r", chunks + "4\r\nhalf\r\n", chunks + "4\r\nhalf\r\n0", chunks + "4\r\nhalf\r\n0\r\n", chunks + "4\r\nhalf\r\n0\r\nX: y\r\n",
			chunks + "4\r\nhalf\r\n0\r\nX: y\r\n\r", chunks + "0\r\n\n", chunks + "0\r\nX: y\n\r\n", chunks + "0\r\n X: y\r\n\r\n",
			chunks + "0\r\nX Y: y\r\n\r\n", chunks + "0\r\nX\r\n\r\n", chunks + "0\r\nX: \x00\r\n\r\n", chunks + "0\r\n\rX: y\r\n\r\n",
			chunks + "0\r\nX: a\rb\r\n\r\n", chunks + "0\r\nX: a\r\n \r\n\r\n", chunks + "0\r\nX: " + long(readerSize) + "\r\n\r\n",
			chunks + "4\nhalf\r\n0\r\n\r\n", chunks + "4\r\nhalf\n0\r\n\r\n", chunks + "4\r\nhalfX\r\n0\r\n\r\n", chunks + "4\r\nhalf0\r\n\r\n",
			chunks + "0x4\r\nhalf\r\n0\r\n\r\n", chunks + "+4\r\nhalf\r\n0\r\n\r\n", chunks + "-4\r\nhalf\r\n0\r\n\r\n", chunks + "1_0\r\nhalf\r\n0\r\n\r\n",
			chunks + " 4\r\nhalf\r\n0\r\n\r\n", chunks + "\r\n4\r\nhalf\r\n0\r\n\r\n", chunks + "ZZ\r\nhalf\r\n0\r\n\r\n", chunks + ";a=b\r\nhalf\r\n0\r\n\r\n",
			chunks + "10000000000000000\r\nhalf\r\n0\r\n\r\n", chunks + "4;a\rb\r\nhalf\r\n0\r\n\r\n", chunks + "4;a\nb\r\nhalf\r\n0\r\n\r\n",
			chunks + "4;" + long(8000) + "\r\nhalf\r\n0\r\n\r\n", chunks + "4\r\r\nhalf\r\n0\r\n\r\n",
		} {
			for name, read := range map[string]func(*http.Response) error{
				"read": func(resp *http.Response) error {
					_, err := io.ReadAll(resp.Body)
					return err
				},
				"written": func(resp *http.Response) error {
					_, err := resp.Body.(io.WriterTo).WriteTo(struct{ io.Writer }{io.Discard})
					return err
				},
				"handed over": func(resp *http.Response) error {
					_, err := resp.Body.(io.WriterTo).WriteTo(new(bytes.Buffer))
					return err
				},
			} {
				tr := g.transport()
				errs := make(chan error, 1)
				go func() {
					resp, err := tr.RoundTrip(get(t))
					if err == nil {
						if err = read(resp); err == nil || err == io.EOF {
							t.Errorf("%.80q is %s as if it was complete: %v", answer, name, err)
						}
						if _, again := resp.Body.Read(make([]byte, 1)); again == nil || again == io.EOF {
							t.Errorf("%.80q: then it is %v", answer, again)
						}
						_ = resp.Body.Close()
					}
					errs <- err
				}()
				p := g.accept()
				p.request()
				_, _ = io.WriteString(p, answer)
				_ = p.Close()
				err := receive(t, errs, "the end")
				if cut := strings.HasPrefix(answer, length); cut && err != io.ErrUnexpectedEOF {
					t.Errorf("%.80q, %s: ended with %v", answer, name, err)
				}
				wantStats(t, tr, 0, 0)
			}
		}
	})
}

// TestMalformedTrailersAreRefused as malformed headers are.
func TestMalformedTrailersAreRefused(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		for _, trailer := range []string{"\n", "X: y\n\r\n", " X: y\r\n\r\n", "X Y: y\r\n\r\n", "X: y\r\n\t\r\n\r\n", "X\r\n\r\n", "\rX: y\r\n\r\n", "X: \x00\r\n\r\n"} {
			tr := g.transport()
			done := start(tr, get(t))
			p := g.accept()
			p.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n" + trailer)
			if o := receive(t, done, "the outcome"); !errors.Is(o.err, ErrMalformed) {
				t.Errorf("%q: %v", trailer, o.err)
			}
			p.wantClosed()
			wantStats(t, tr, 0, 0)
		}
	})
}

// TestAnnouncedTrailersAreKnownBeforeTheBody without their values, if they may be
// trailers at all.
func TestAnnouncedTrailersAreKnownBeforeTheBody(t *testing.T) {
	t.Parallel()
	got := announcedTrailers(http.Header{"Trailer": {"x-a, X-B\t,", ",Content-Length, Transfer-Encoding,Trailer, a b,X-A"}})
	if len(got) != 2 || got["X-A"] != nil || got["X-B"] != nil {
		t.Errorf("%q", got)
	}
	if _, known := got["X-A"]; !known {
		t.Errorf("%q", got)
	}
	if got := announcedTrailers(http.Header{"Trailer": {""}}); got != nil {
		t.Errorf("%q", got)
	}
}

// TestBodyThatIsNotReadCostsTheConnection and nothing else.
func TestBodyThatIsNotReadCostsTheConnection(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		for _, read := range []int{0, 1} {
			for _, answer := range []string{ok, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nok"} {
				tr := g.transport()
				resps := make(chan *http.Response, 1)
				go func() {
					resp, err := tr.RoundTrip(get(t))
					if err != nil {
						t.Error(err)
					}
					resps <- resp
				}()
				p := g.accept()
				p.answer(answer)
				resp := receive(t, resps, "the head")
				if resp == nil {
					return
				}
				if n, err := resp.Body.Read(make([]byte, read)); n != read || err != nil {
					t.Errorf("read %d, %v", n, err)
				}
				_, _ = resp.Body.Close(), resp.Body.Close()
				if _, err := resp.Body.Read(make([]byte, 1)); err != http.ErrBodyReadAfterClose {
					t.Errorf("after the close: %v", err)
				}
				resp.Body.(*Body).OnWait(func() {}, true) // too late, and harmless
				p.wantClosed()
				wantStats(t, tr, 0, 0)
			}
		}
	})
}

// TestCloseAfterTheEndIsHarmless to the connection, which somebody else may have by
// then.
func TestCloseAfterTheEndIsHarmless(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		first := start(tr, get(t))
		p := g.accept()
		p.answer(ok)
		o := receive(t, first, "the answer")
		second := start(tr, get(t))
		p.request()
		_ = o.resp.Body.Close()
		if n, err := o.resp.Body.Read(make([]byte, 10)); n != 0 || err != io.EOF {
			t.Errorf("after its end, the first body reads %d bytes, %v", n, err)
		}
		p.send(ok)
		receive(t, second, "the second answer").wantOK(t, "ok")
		wantStats(t, tr, 1, 1)
	})
}

func TestLiveAnswerIsFlushedAtOnce(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) { wantLive(t, g, g.transport()) })
}

// TestStallingAnswerIsFlushedSoon but not at every moment in which nothing is there.
func TestStallingAnswerIsFlushedSoon(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		begin := time.Now()
		flushes := make(chan time.Duration, 100)
		done := make(chan error, 1)
		go func() {
			resp, err := tr.RoundTrip(get(t))
			if err == nil {
				resp.Body.(*Body).OnWait(func() { flushes <- time.Since(begin) }, false)
				_, err = io.ReadAll(resp.Body)
			}
			done <- err
		}()
		p := g.accept()
		p.answer("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na")
		if at := receive(t, flushes, "the flush"); at < patience/2 {
			t.Errorf("flushed after %s, want more patience", at)
		}
		p.send("b")
		receive(t, flushes, "the second flush")
		p.send("c")
		if err := receive(t, done, "the end"); err != nil {
			t.Error(err)
		}
		wantStats(t, tr, 1, 1)
	})
}

// TestBodiesAreHandedOver to what can read from a connection by itself, as a client's
// connection can.
func TestBodiesAreHandedOver(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		clients := startTarget(t, "tcp")
		for _, n := range []int{1, 1000, readerSize, spliceFrom - 1, spliceFrom + readerSize, 5 << 20} {
			for _, eager := range []bool{false, true} {
				tr := g.transport()
				to, err := net.Dial("tcp", clients.address)
				if err != nil {
					t.Fatal(err)
				}
				client := clients.accept()
				done := make(chan error, 1)
				go func() {
					resp, err := tr.RoundTrip(get(t))
					if err == nil {
						resp.Body.(*Body).OnWait(func() {}, eager)
						var written int64
						if written, err = resp.Body.(io.WriterTo).WriteTo(to); written != int64(n) {
							t.Errorf("%d of %d bytes are written", written, n)
						}
					}
					done <- err
					_ = to.Close()
				}()
				p := g.accept()
				p.request()
				body := bytes.Repeat([]byte("0123456789abcdef\n"), n/17+1)[:n]
				go func() {
					_, _ = io.WriteString(p, "HTTP/1.1 200 OK\r\nContent-Length: "+strconv.Itoa(n)+"\r\n\r\n")
					for rest := body; len(rest) > 0; {
						k := min(len(rest), 100_000)
						_, _ = p.Write(rest[:k])
						rest = rest[k:]
					}
				}()
				got := sha256.New()
				_, _ = io.Copy(got, client.r)
				if want := sha256.Sum256(body); !bytes.Equal(got.Sum(nil), want[:]) {
					t.Errorf("%d bytes are damaged", n)
				}
				if err := receive(t, done, "the end"); err != nil {
					t.Errorf("%d bytes: %v", n, err)
				}
				// The connection is as good as any.
				wantStats(t, tr, 1, 1)
				next := start(tr, get(t))
				p.answer(ok)
				receive(t, next, "the next answer").wantOK(t, "ok")
				tr.Close()
			}
		}
	})
}

// TestClientThatHangsUpEndsTheHandover and the connection to the target with it.
func TestClientThatHangsUpEndsTheHandover(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		done := make(chan error, 1)
		go func() {
			resp, err := tr.RoundTrip(get(t))
			if err == nil {
				_, err = resp.Body.(io.WriterTo).WriteTo(hungUp{})
				_ = resp.Body.Close()
			}
			done <- err
		}()
		p := g.accept()
		p.request()
		_, _ = io.WriteString(p, "HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
		_, _ = io.WriteString(p, long(200_000))
		if err := receive(t, done, "the end"); err == nil {
			t.Error("it looks complete")
		}
		p.rest()
		wantStats(t, tr, 0, 0)
	})
}

// hungUp is a client that takes a little, and then nothing, and says so with the
// worst of errors.
type hungUp struct{}

func (hungUp) Write(p []byte) (int, error) { return len(p), nil }

func (hungUp) ReadFrom(r io.Reader) (int64, error) {
	n, _ := r.Read(make([]byte, 10))
	return int64(n), io.EOF
}

// TestBodyBehindALongHeadArrivesWhole however the head and the body come in pieces.
func TestBodyBehindALongHeadArrivesWhole(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		rnd, tr := testkit.NewRand(t), g.transport()
		want := long(3 * spliceFrom)
		for range 60 {
			answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Long: %s\r\n\r\n%s", len(want), long(rnd.IntN(maxHead-200)), want)
			first := rnd.IntN(len(answer) - len(want)/2)
			done := make(chan string, 1)
			go func() {
				resp, err := tr.RoundTrip(get(t))
				if err != nil {
					t.Error(err)
					close(done)
					return
				}
				defer resp.Body.Close()
				var got bytes.Buffer
				if _, err := resp.Body.(*Body).WriteTo(&got); err != nil {
					t.Error(err)
				}
				done <- got.String()
			}()
			p := g.accept()
			p.request()
			p.send(answer[:first])
			runtime.Gosched()
			p.send(answer[first:])
			_ = p.Close()
			if got := receive(t, done, "the body"); got != want {
				t.Fatalf("a head of %d bytes, %d of the answer at first: %d bytes of the body, want %d", len(answer)-len(want), first, len(got), len(want))
			}
			tr.CloseIdleConnections()
		}
	})
}
