package transport

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/testkit"
)

// occupy begins n exchanges, each on a connection of its own, and returns the
// target's ends. Nothing has been answered yet.
func occupy(t testing.TB, g *target, tr *Transport, n int) (peers []*peer, outcomes []<-chan outcome) {
	t.Helper()
	for range n {
		outcomes = append(outcomes, start(tr, get(t)))
		p := g.accept()
		p.request()
		peers = append(peers, p)
	}
	return peers, outcomes
}

// fill leaves n idle connections, of which the last is used next.
func fill(t testing.TB, g *target, tr *Transport, n int) []*peer {
	t.Helper()
	peers, outcomes := occupy(t, g, tr, n)
	for i, p := range peers {
		p.send(ok)
		receive(t, outcomes[i], "the answer").wantOK(t, "ok")
	}
	return peers
}

func TestConnectionThatWasUsedLastIsUsedNext(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		peers := fill(t, g, tr, 3)
		wantStats(t, tr, 3, 3)
		for _, p := range []*peer{peers[2], peers[2], peers[2]} {
			done := start(tr, get(t))
			p.answer(ok)
			receive(t, done, "the answer").wantOK(t, "ok")
		}
		// Two at the same time take the two that are on top.
		first := start(tr, get(t))
		peers[2].request()
		second := start(tr, get(t))
		peers[1].request()
		wantStats(t, tr, 3, 1)
		peers[2].send(ok)
		peers[1].send(ok)
		receive(t, first, "the answer").wantOK(t, "ok")
		receive(t, second, "the answer").wantOK(t, "ok")
		wantStats(t, tr, 3, 3)
	})
}

func TestIdleConnectionsAreClosedInTheirTurn(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		tr.IdleTimeout = 50 * time.Millisecond
		peers := fill(t, g, tr, 3)
		last := time.Now()
		for _, p := range peers {
			p.wantClosed()
		}
		if took := time.Since(last); took < tr.IdleTimeout {
			t.Errorf("the last connection is closed after %s", took)
		}
		testkit.WaitFor(t, "the count", func() bool { return tr.Stats() == Stats{} })
		// The sweeper, which has gone to sleep, comes again.
		fill(t, g, tr, 1)[0].wantClosed()
	})
}

// TestConnectionThatIsAboutToBeSweptIsNotUsed even if the sweeper is late.
func TestConnectionThatIsAboutToBeSweptIsNotUsed(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		old := fill(t, g, tr, 1)[0]
		age(tr, time.Hour)
		done := start(tr, get(t))
		g.accept().answer(ok)
		receive(t, done, "the answer").wantOK(t, "ok")
		tr.Close()
		old.wantClosed()
	})
}

// age makes all idle connections older by d.
func age(tr *Transport, d time.Duration) {
	tr.pool.mu.Lock()
	defer tr.pool.mu.Unlock()
	for _, c := range tr.pool.idle {
		c.idleSince = c.idleSince.Add(-d)
	}
}

func TestTargetSaysHowLongItKeepsConnections(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]time.Duration{
		"timeout=5":                4 * time.Second,
		"timeout=5, max=100":       4 * time.Second,
		"max=100,  timeout=60":     59 * time.Second,
		"timeout=2":                time.Second,
		"timeout=1":                500 * time.Millisecond,
		"timeout=0":                time.Millisecond,
		"timeout=3600":             time.Minute, // it may not make it longer
		"timeout=":                 time.Minute,
		"timeout=-1":               time.Minute,
		"timeout=5s":               time.Minute,
		"timeout=9999999999999999": time.Minute,
		"nonsense":                 time.Minute,
	} {
		tr := &Transport{IdleTimeout: time.Minute}
		tr.heed(header)
		if got := tr.idleTimeout(); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
	if got := new(Transport).idleTimeout(); got != defaultIdleTimeout {
		t.Errorf("by default: %s, want %s", got, defaultIdleTimeout)
	}
}

// TestConnectionIsClosedBeforeTheTargetDoesIt also if it had promised more before.
func TestConnectionIsClosedBeforeTheTargetDoesIt(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		for i := range 2 {
			var p *peer
			done := start(tr, get(t))
			if p = g.accept(); i == 1 {
				p.answer("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nok")
			} else {
				p.answer(ok)
			}
			receive(t, done, "the answer").wantOK(t, "ok")
			if i == 0 {
				tr.CloseIdleConnections()
				continue
			}
			begin := time.Now()
			p.wantClosed()
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("closed after %s, want half a second", took)
			}
		}
	})
}

// TestSweeperHeedsALaterAnnouncement though it has been set for a longer time.
func TestSweeperHeedsALaterAnnouncement(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		tr.IdleTimeout = 600 * time.Millisecond
		p := fill(t, g, tr, 1)[0]
		done := start(tr, get(t))
		p.answer("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0\r\nContent-Length: 2\r\n\r\nok")
		receive(t, done, "the answer").wantOK(t, "ok")
		p.wantClosed() // by the sweep that was due
		// From here on it comes at the new pace, and closes what is due then.
		tr.keepAlive.Store(int64(10 * time.Millisecond))
		begin := time.Now()
		fill(t, g, tr, 1)[0].wantClosed()
		if took := time.Since(begin); took > 500*time.Millisecond {
			t.Errorf("closed after %s, want 10ms", took)
		}
	})
}

func TestNumberOfIdleConnectionsIsBounded(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		tr.MaxIdle = 2
		peers, outcomes := occupy(t, g, tr, 5)
		wantStats(t, tr, 5, 0)
		for i, p := range peers {
			p.send(ok)
			receive(t, outcomes[i], "the answer").wantOK(t, "ok")
		}
		wantStats(t, tr, 2, 2)
		for _, p := range peers[2:] {
			p.wantClosed()
		}
	})
}

func TestCloseIdleConnectionsSparesThoseInUse(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		peers, outcomes := occupy(t, g, tr, 2)
		peers[0].send(ok)
		receive(t, outcomes[0], "the answer").wantOK(t, "ok")
		tr.CloseIdleConnections()
		wantStats(t, tr, 1, 0)
		peers[0].wantClosed()
		peers[1].send(ok)
		receive(t, outcomes[1], "the answer").wantOK(t, "ok")
		wantStats(t, tr, 1, 1)
	})
}

// TestClosedTransportKeepsNoConnection but still works.
func TestClosedTransportKeepsNoConnection(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		tr := g.transport()
		peers, outcomes := occupy(t, g, tr, 2)
		peers[0].send(ok)
		receive(t, outcomes[0], "the answer").wantOK(t, "ok")
		tr.Close()
		tr.Close() // once more is no more
		peers[0].wantClosed()
		peers[1].send(ok)
		receive(t, outcomes[1], "the answer").wantOK(t, "ok")
		peers[1].wantClosed()
		wantStats(t, tr, 0, 0)
		done := start(tr, get(t))
		p := g.accept()
		p.answer(ok)
		receive(t, done, "the answer").wantOK(t, "ok")
		p.wantClosed()
		wantStats(t, tr, 0, 0)
	})
}

// TestConnectionsAreCountedRight whatever happens to them.
func TestConnectionsAreCountedRight(t *testing.T) {
	onEachNetwork(t, func(t *testing.T, g *target) {
		rnd := testkit.NewRand(t)
		tr := g.transport()
		tr.MaxIdle = 3
		answers := []string{
			ok, "", "nonsense\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", ok + "more",
			"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 204 No Content\r\n\r\n",
		}
		g.serve(func(_ int, req *http.Request) string {
			var i int
			_, _ = fmt.Sscan(req.Header.Get("X-Answer"), &i)
			if i == 3 {
				return answers[i] + "Connection will be closed by the next one"
			}
			return answers[i]
		})
		for range 200 {
			n := 1 + rnd.IntN(5)
			var outcomes []<-chan outcome
			for range n {
				req := get(t)
				if rnd.IntN(2) == 0 {
					req = post(t, strings.NewReader("body"))
				}
				req.Header.Set("X-Answer", fmt.Sprint(rnd.IntN(len(answers))))
				if rnd.IntN(4) == 0 {
					done := make(chan outcome, 1)
					outcomes = append(outcomes, done)
					go func() {
						resp, err := tr.RoundTrip(req)
						if err == nil {
							_, _ = resp.Body.Read(make([]byte, 1))
							err = resp.Body.Close()
						}
						done <- outcome{err: err}
					}()
					continue
				}
				outcomes = append(outcomes, start(tr, req))
			}
			for _, done := range outcomes {
				if o := receive(t, done, "an outcome"); o.err == io.EOF {
					t.Fatal("an error that looks like a proper end")
				}
			}
			if s := tr.Stats(); s.Open != s.Idle || s.Idle > 3 || s.Open < 0 {
				t.Fatalf("%+v, while nothing is under way", s)
			}
		}
	})
}

// BenchmarkPool measures what takes a connection that waits and puts it back, on all cores at once.
func BenchmarkPool(b *testing.B) {
	p := new(pool)
	for range 64 {
		p.put(new(conn), 1000, time.Minute)
	}
	defer func() { p.idle = nil; p.closeIdle(true) }()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if c := p.take(time.Now(), time.Minute); c != nil {
				p.put(c, 1000, time.Minute)
			}
		}
	})
}
