package proxy

import (
	"context"
	"net/http"
	"strings"
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
		if r.alive.Err() == nil {
			t.Error("the release can still be dialled")
		}
	})
}

func TestDrainCutsRequestsWhenItsTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bareRelease()
		r.Acquire()
		r.Acquire()
		context.AfterFunc(&r.uncut, r.Done) // one ends when it is cut, the other is stuck
		d := r.Drain(api.DrainLimits{Requests: 30 * time.Second}, nil)
		if d.CutRequests != 2 || time.Duration(d.Elapsed) != 30*time.Second+cutGrace {
			t.Errorf("%+v, want 2 requests cut after 30s and given up on after %s", d, cutGrace)
		}
	})
}

// TestCutRequestsAreTold deploys over a request that does not end.
func TestCutRequestsAreTold(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	old := startApp(t, "old")
	e.deploy(requestFor("app", old))
	answer := make(chan int, 1)
	go func() {
		status, _ := e.get("h", "/slow")
		answer <- status
	}()
	receive(t, old.arrived, "the slow request")
	req := requestFor("app", startApp(t, "new"))
	req.DrainTimeout = ms(50)
	status, err := wait(t, e.start(req))
	wantCode(t, err, api.CodeDrainTimeout)
	if !strings.Contains(err.Error(), "app v1 did not drain in time: 1 request and 0 streams were cut") {
		t.Errorf("error %q does not say what was cut", err)
	}
	if status.State != api.StateDone || status.Serving != 2 || status.Drained[0].CutRequests != 1 {
		t.Errorf("status %+v, want done, v2 serving, one request cut", status)
	}
	if got := receive(t, answer, "the answer"); got != http.StatusServiceUnavailable {
		t.Errorf("the cut request is answered with %d", got)
	}
	e.wantAnswer("h", "/", "new")
}

// deafStream ignores that it is asked to close.
type deafStream struct{ onCut func() }

func (deafStream) closePolitely()  {}
func (deafStream) parted() bool    { return false }
func (deafStream) answering() bool { return false }
func (s deafStream) cut()          { s.onCut() }

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
