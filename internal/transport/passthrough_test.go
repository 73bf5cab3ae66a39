package transport

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

const passedHead = "GET /p HTTP/1.1\r\nHost: app.test\r\nx-own: 1\r\n\r\n"

// withIdle returns a transport with an idle connection to g, and the other side of that.
func withIdle(t *testing.T, g *target) (*Transport, *peer) {
	tr := g.transport()
	done := start(tr, get(t))
	p := g.accept()
	p.answer(ok)
	receive(t, done, "the first answer").wantOK(t, "ok")
	return tr, p
}

// passed is what has come of a request that was passed through.
type passed struct {
	PassedThrough
	sent, whole bool
}

func passThrough(tr *Transport) <-chan *passed {
	done := make(chan *passed, 1)
	go func() {
		p := new(passed)
		p.sent, p.whole = tr.PassThrough(&p.PassedThrough, []byte(passedHead), false, time.Now())
		done <- p
	}()
	return done
}

// resume goes on with p as an ordinary request.
func resume(t *testing.T, tr *Transport, p *passed) <-chan outcome {
	req, done := get(t), make(chan outcome, 1)
	go func() {
		resp, err := tr.Resume(req, &p.PassedThrough)
		if err != nil {
			done <- outcome{err: err}
			return
		}
		body, err := io.ReadAll(resp.Body)
		done <- outcome{resp, string(body), err}
	}()
	return done
}

func TestHeadAndAnswerArePassedThroughAsTheyWereSent(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr, peer := withIdle(t, g)
		for _, body := range []string{
			"Content-Length: 5\r\n\r\nhello",
			"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		} {
			done := passThrough(tr)
			if head := peer.head(); head != passedHead {
				t.Errorf("the target got %q", head)
			}
			peer.send("HTTP/1.1 404 Nothing\r\nx-lower: a\r\n" + body)
			p := receive(t, done, "the answer")
			_, want, _ := strings.Cut(body, "\r\n\r\n")
			if !p.sent || !p.whole || p.Head.Status != 404 || string(p.Head.Fields[0].Name) != "x-lower" || string(p.Body) != want || p.Size != 5 {
				t.Fatalf("%+v, with %q", p, p.Body)
			}
			wantStats(t, tr, 1, 0)
			p.End()
			wantStats(t, tr, 1, 1)
		}
	})
}

func TestNothingIsPassedThroughWithoutAnIdleConnection(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		if p := receive(t, passThrough(g.transport()), "the refusal"); p.sent {
			t.Error("the request was sent")
		}
	})
}

// What is not there at once, or cannot be passed on as it is, becomes the answer to an ordinary request.
func TestPassedThroughRequestGoesOnAsAnOrdinaryOne(t *testing.T) {
	for name, answer := range map[string][]string{
		"slow":          {"", ok},
		"slow body":     {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "ok"},
		"slow chunks":   {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n", "1\r\nk\r\n0\r\n\r\n"},
		"trailers":      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n"},
		"extension":     {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\n\r\n"},
		"informational": {"HTTP/1.1 103 Early Hints\r\n\r\n" + ok},
		"folded":        {"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nok"},
	} {
		t.Run(name, func(t *testing.T) {
			onEachNetwork(t, func(t *testing.T, g *target) {
				tr, peer := withIdle(t, g)
				done := passThrough(tr)
				peer.head()
				peer.send(answer[0])
				p := receive(t, done, "the end of patience")
				if !p.sent || p.whole {
					t.Fatalf("%+v", p)
				}
				resumed := resume(t, tr, p)
				for _, more := range answer[1:] {
					peer.send(more)
				}
				receive(t, resumed, "the answer").wantOK(t, "ok")
				wantStats(t, tr, 1, 1)
			})
		})
	}
}

func TestPassedThroughRequestIsRepeatedOnAnotherConnection(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr, old := withIdle(t, g)
		done := passThrough(tr)
		old.head()
		old.reset()
		p := receive(t, done, "the loss of the connection")
		if !p.sent || p.whole {
			t.Fatalf("%+v", p)
		}
		resumed := resume(t, tr, p)
		fresh := g.accept()
		if r, _ := fresh.request(); r.Method != http.MethodGet {
			t.Errorf("%s", r.Method)
		}
		fresh.send(ok)
		receive(t, resumed, "the answer").wantOK(t, "ok")
	})
}

// An answer that came before the request belongs to none.
func TestWhatCameUnaskedIsNotPassedThrough(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr, old := withIdle(t, g)
		old.send("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
		awaitArrival(t, tr)
		p := receive(t, passThrough(tr), "the discovery")
		if !p.sent || p.whole {
			t.Fatalf("%+v", p)
		}
		resumed := resume(t, tr, p)
		fresh := g.accept()
		fresh.request()
		fresh.send(ok)
		receive(t, resumed, "the answer").wantOK(t, "ok")
		old.wantClosed()
	})
}
