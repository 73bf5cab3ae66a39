package forward

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// fakeCloser is a stream that ends when it is told to, unless it is deaf.
type fakeCloser struct {
	r      *Release
	stream *stream
	deaf   bool
	told   bool
	// closedAt is when it was asked to close, cutAt when it was cut.
	closedAt, cutAt time.Time
}

func openFake(r *Release) *fakeCloser {
	c := &fakeCloser{r: r}
	c.stream = &stream{closer: c}
	if !r.Acquire() {
		panic("the release drains")
	}
	r.addStream(c.stream)
	r.Done()
	return c
}

func (c *fakeCloser) closePolitely() {
	if c.closedAt = time.Now(); !c.deaf {
		c.r.removeStream(c.stream)
	}
}

func (c *fakeCloser) clientTold() bool { return c.told }

func (*fakeCloser) maybeUnary() bool { return false }

func (c *fakeCloser) cut() {
	c.cutAt = time.Now()
	c.r.removeStream(c.stream)
}

func bareRelease() *Release {
	s, err := api.DeployRequest{Targets: []string{"web:3000"}}.Resolve()
	if err != nil {
		panic(err)
	}
	return newTestForwarder().NewRelease(s)
}

// TestStreamClosesAreSpread keeps thousands of clients from reconnecting in one
// instant.
func TestStreamClosesAreSpread(t *testing.T) {
	for _, tt := range []struct {
		streams int
		timeout time.Duration
		// first is when the first stream is closed; the last is at the timeout.
		first time.Duration
	}{
		{1, 10 * time.Second, 10 * time.Second},
		{5, 10 * time.Second, 9800 * time.Millisecond}, // a handful closes almost at once
		{500, 10 * time.Second, 20 * time.Millisecond},
		{5000, 10 * time.Second, 2 * time.Millisecond},
		{500, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			r, start := bareRelease(), time.Now()
			var closers []*fakeCloser
			for range tt.streams {
				closers = append(closers, openFake(r))
			}
			d := r.Drain(api.DrainLimits{Requests: time.Second, Streams: tt.timeout}, nil)
			if d.Streams != tt.streams || d.CutStreams != 0 || time.Duration(d.Elapsed) != tt.timeout {
				t.Errorf("%d streams: %+v, want all closed within %s", tt.streams, d, tt.timeout)
			}
			var at []time.Duration
			for _, c := range closers {
				at = append(at, c.closedAt.Sub(start))
			}
			slices.Sort(at)
			if at[0] != tt.first || at[len(at)-1] != tt.timeout {
				t.Errorf("%d streams are closed from %s to %s, want %s to %s", tt.streams, at[0], at[len(at)-1], tt.first, tt.timeout)
			}
			// Spread evenly: no tenth of the time has more than its share.
			if tt.streams >= 500 && tt.timeout > 0 {
				var tenths [10]int
				for _, d := range at {
					tenths[min(9, d*10/tt.timeout)]++
				}
				for i, n := range tenths {
					if n > tt.streams/10+2 {
						t.Errorf("%d of %d streams are closed in tenth %d of the time", n, tt.streams, i+1)
					}
				}
			}
		})
	}
}

// TestStreamThatBeginsDuringTheDrainIsClosedToo covers a request that was counted
// before the switch and becomes a stream after it.
func TestStreamThatBeginsDuringTheDrainIsClosedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, start := bareRelease(), time.Now()
		if !r.Acquire() {
			t.Fatal("a new release drains")
		}
		done := make(chan api.Drain, 1)
		go func() { done <- r.Drain(api.DrainLimits{Requests: time.Hour, Streams: 10 * time.Second}, nil) }()
		time.Sleep(4 * time.Second)
		c := &fakeCloser{r: r}
		c.stream = &stream{closer: c}
		r.addStream(c.stream)
		r.Done()
		d := <-done
		if got := c.closedAt.Sub(start); got != 10*time.Second || d.CutStreams != 0 {
			t.Errorf("the stream is closed after %s, %+v, want 10s", got, d)
		}
	})
}

func TestStreamThatDoesNotCloseIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, start := bareRelease(), time.Now()
		deaf, good := openFake(r), openFake(r)
		deaf.deaf = true
		d := r.Drain(api.DrainLimits{Requests: time.Hour, Streams: 10 * time.Second}, nil)
		if want := 10*time.Second + 2*streamLinger; deaf.cutAt.Sub(start) != want || d.CutStreams != 1 || d.Clean() {
			t.Errorf("cut after %s, %+v, want one stream cut after %s", deaf.cutAt.Sub(start), d, want)
		}
		if !good.cutAt.IsZero() {
			t.Error("a stream that had closed is cut")
		}
	})
}

// TestStreamIsNotCutBeforeItsTurns although time has passed: on a busy machine, the
// goroutine that asks a stream to close, and the one that tells the client, get to it
// late.
func TestStreamIsNotCutBeforeItsTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bareRelease()
		c := openFake(r)
		c.deaf = true
		take := func(turns int, while string) {
			t.Helper()
			for range turns {
				if c.stream.cutIfOverdue(false) {
					t.Fatalf("it is cut %s", while)
				}
			}
		}
		c.stream.closeAfter(time.Second)
		take(2*lingerTurns, "before it was asked to close")
		time.Sleep(time.Hour)
		take(lingerTurns-1, "while it may look for a border")
		c.told = true
		take(lingerTurns-1, "while the client may answer")
		if !c.stream.cutIfOverdue(false) || c.stream.cutIfOverdue(false) {
			t.Error("it is not cut once after all its turns")
		}
	})
}

func TestStreamThatHasEndedIsNotClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bareRelease()
		c := openFake(r)
		c.stream.closeAfter(time.Second)
		r.removeStream(c.stream)
		c.stream.closeAfter(time.Second)
		time.Sleep(time.Minute)
		if !c.closedAt.IsZero() {
			t.Error("it is closed all the same")
		}
	})
}
