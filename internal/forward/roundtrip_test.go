package forward

import (
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// TestHeldRequestIsTriedAgainAndAgain with growing pauses, until its time is over.
func TestHeldRequestIsTriedAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := monitored(2)
		r.Spec.Options.HoldTimeout = api.Duration(5 * time.Second)
		var tries atomic.Int64
		for _, u := range r.upstreams {
			u.transport = &fakeApp{answer: dead}
		}
		in := httptest.NewRequest("GET", "/", nil)
		start := time.Now()
		_, err := r.roundTrip(&exchange{client: t.Context(), in: in, slot: slot{release: r}}, in)
		for _, u := range r.upstreams {
			tries.Add(int64(len(u.transport.(*fakeApp).at)))
		}
		took := time.Since(start)
		if !isDialError(err) || took > 5*time.Second || took < 4*time.Second {
			t.Errorf("ended with %v after %s", err, took)
		}
		if n := tries.Load(); n < 2*15 || n > 2*40 {
			t.Errorf("tried %d times", n)
		}
		for _, u := range r.upstreams {
			if !u.failing() {
				t.Errorf("%s is not failing", u.target)
			}
		}
	})
}
