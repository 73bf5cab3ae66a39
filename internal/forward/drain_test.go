package forward

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

func TestDrainWaitsForTheLastRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bareRelease()
		for range 3 {
			r.Acquire()
		}
		var progress []int
		done := make(chan api.Drain, 1)
		go func() {
			done <- r.Drain(api.DrainLimits{Requests: 30 * time.Second}, func(requests, _ int) { progress = append(progress, requests) })
		}()
		for range 3 {
			time.Sleep(1500 * time.Millisecond)
			synctest.Wait()
			select {
			case <-done:
				t.Fatal("the drain ends while a request is in flight")
			default:
			}
			if r.Acquire() {
				t.Fatal("a release that drains takes a request")
			}
			r.Done()
		}
		d := <-done
		if d.Requests != 3 || !d.Clean() || time.Duration(d.Elapsed) != 4500*time.Millisecond {
			t.Errorf("%+v, want 3 requests in 4.5s", d)
		}
		// In the third second a request ends in the very instant of the tick.
		if want := []int{3, 2, 2, 1}; len(progress) != 4 || progress[0] != 3 || progress[1] != 2 || progress[3] != 1 {
			t.Errorf("progress %v, want %v", progress, want)
		}
		if r.upstreams[0].alive.Err() == nil {
			t.Error("the release can still be dialled")
		}
	})
}

func TestDrainCutsRequestsWhenItsTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bareRelease()
		r.Acquire()
		r.Acquire()
		context.AfterFunc(&r.cut, r.Done) // one ends when it is cut, the other is stuck
		d := r.Drain(api.DrainLimits{Requests: 30 * time.Second}, nil)
		if d.CutRequests != 2 || time.Duration(d.Elapsed) != 30*time.Second+cutGrace {
			t.Errorf("%+v, want 2 requests cut after 30s and given up on after %s", d, cutGrace)
		}
	})
}

// deafStream ignores that it is asked to close.
type deafStream struct{ onCut func() }

func (deafStream) closePolitely() {}

func (deafStream) clientTold() bool { return false }

func (deafStream) maybeUnary() bool { return false }

func (s deafStream) cut() { s.onCut() }

// TestStreamThatIsBornLateIsCutAndTold although the others were cut long before.
func TestStreamThatIsBornLateIsCutAndTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bareRelease()
		r.Acquire()
		done := make(chan api.Drain, 1)
		go func() { done <- r.Drain(api.DrainLimits{Requests: time.Hour}, nil) }()
		time.Sleep(20 * time.Second)
		var s *stream
		s = &stream{closer: deafStream{func() { go r.removeStream(s) }}}
		r.addStream(s)
		r.Done() // the request has become the stream
		d := <-done
		if d.CutStreams != 1 || d.CutRequests != 0 {
			t.Errorf("%+v, want one stream cut", d)
		}
	})
}

// TestShutdownDoesNotWaitForAStreamThatADrainSawEnd covers a stream whose end is
// noticed by the drain of its release and not by the shutdown.
func TestShutdownDoesNotWaitForAStreamThatADrainSawEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bareRelease()
		r.Acquire()
		openFake(r)
		drained, start := make(chan api.Drain, 1), time.Now()
		go func() { drained <- r.Drain(api.DrainLimits{Requests: time.Minute, Streams: time.Minute}, nil) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		r.Shutdown(ctx, time.Second)
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("the shutdown takes %s", took)
		}
		r.Done()
		<-drained
	})
}
