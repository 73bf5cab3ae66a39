package forward

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

func TestDrainingReleaseTakesNoRequests(t *testing.T) {
	r := bareRelease()
	if !r.Acquire() {
		t.Fatal("a new release takes no request")
	}
	changes := r.changes()
	r.requests.Or(drainingBit)
	if r.Acquire() {
		t.Fatal("a release that drains takes a request")
	}
	if n := r.InFlight(); n != 1 {
		t.Errorf("%d requests in flight, want 1: the refused one is not counted", n)
	}
	r.Done()
	if n := r.InFlight(); n != 0 {
		t.Errorf("%d requests in flight, want none", n)
	}
	select {
	case <-changes:
	default:
		t.Error("the drain is not woken by the last request")
	}
}

// idleCloser is a stream that ends itself when it is asked to close.
type idleCloser struct{ asked chan struct{} }

func (c idleCloser) closePolitely() {
	select {
	case c.asked <- struct{}{}:
	default:
	}
}

func (idleCloser) clientTold() bool { return false }

func (idleCloser) maybeUnary() bool { return false }

func (c idleCloser) cut() { c.closePolitely() }

// TestReleaseLifeCycle lets many goroutines use a release while it begins to
// drain, and checks what the switch relies upon: nothing is acquired after the
// drain was seen, and the drain ends when everything has, and not before.
func TestReleaseLifeCycle(t *testing.T) {
	rnd := testkit.NewRand(t)
	for range 100 {
		r := bareRelease()
		var held, acquired, refused atomic.Int64
		var drainSeen, drainEnded atomic.Bool
		workers := 1 + rnd.IntN(16)
		drainAfter := rnd.Int64N(200) // one worker alone gets that far

		var all sync.WaitGroup
		for range workers {
			own := rand.New(rand.NewPCG(rnd.Uint64(), 0))
			all.Go(func() {
				for range 200 {
					seen := drainSeen.Load()
					if !r.Acquire() {
						refused.Add(1)
						drainSeen.Store(true)
						return
					}
					held.Add(1)
					acquired.Add(1)
					if seen {
						t.Error("a request is acquired after the drain was seen")
					}
					if drainEnded.Load() {
						t.Error("the drain has ended while a request is in flight")
					}
					if own.IntN(4) == 0 {
						runtime.Gosched()
					}
					if own.IntN(8) > 0 {
						held.Add(-1)
						r.Done()
						continue
					}
					// It becomes a stream.
					c := idleCloser{make(chan struct{}, 1)}
					s := &stream{closer: c}
					r.addStream(s)
					r.Done()
					if own.IntN(2) == 0 {
						<-c.asked // until the drain closes it
					}
					if drainEnded.Load() {
						t.Error("the drain has ended while a stream is open")
					}
					held.Add(-1)
					r.removeStream(s)
				}
			})
		}
		all.Go(func() {
			for acquired.Load() < drainAfter && refused.Load() == 0 && r.Streams() < workers {
				runtime.Gosched()
				if r.InFlight() < 0 {
					t.Error("a negative number of requests is in flight")
				}
			}
			d := r.Drain(api.DrainLimits{Requests: time.Minute, Streams: 0}, nil)
			drainEnded.Store(true)
			if n := held.Load(); n != 0 || !d.Clean() {
				t.Errorf("the drain ends while %d are held, %+v", n, d)
			}
			if d.Requests < 0 || d.Requests > workers || d.Streams > workers {
				t.Errorf("impossible counts: %+v", d)
			}
		})
		all.Wait()
		if r.InFlight() != 0 || r.Streams() != 0 {
			t.Fatalf("in the end %d requests, %d streams", r.InFlight(), r.Streams())
		}
	}
}
