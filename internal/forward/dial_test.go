package forward

import (
	"context"
	"errors"
	"net/http/httptest"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// onDial has wait called in every attempt to connect to address.
func onDial(f *Forwarder, wait func(ctx context.Context, address string) error) {
	f.dialer.ControlContext = func(ctx context.Context, _, address string, _ syscall.RawConn) error { return wait(ctx, address) }
}

// swallow is what an address does at which nobody is.
func swallow(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestTargetThatMovesIsFoundByTheDialThatWaitsForIt because it looks its name up anew.
func TestTargetThatMovesIsFoundByTheDialThatWaitsForIt(t *testing.T) {
	t.Parallel()
	app := testkit.StartApp(t, "moved")
	names := startNameServer(t)
	names.answer("127.0.0.99")
	f := newTestForwarder(func(o *Options) { o.Resolver = names.resolver() })
	onDial(f, func(ctx context.Context, address string) error {
		if address != app.Target {
			names.answer("127.0.0.1")
			return swallow(ctx)
		}
		return nil
	})
	r, front := serveWith(t, f, nil, names.target(app.Target))
	start := time.Now()
	if o := testkit.Receive(t, begin(front, "POST", "body"), "the answer"); o.body != "moved" {
		t.Errorf("%+v", o)
	}
	if took := time.Since(start); took >= dialTimeout-redialAfter {
		t.Errorf("took %s, want no more than it takes to look again", took)
	}
	if r.upstreams[0].failing() {
		t.Error("the target is failing")
	}
}

// TestSlowNetworkIsNoDeadOne: what takes longer than the pause between two attempts comes
// about, since they do not end each other.
func TestSlowNetworkIsNoDeadOne(t *testing.T) {
	t.Parallel()
	app := testkit.StartApp(t, "slow")
	f := newTestForwarder()
	var attempts atomic.Int64
	onDial(f, func(ctx context.Context, _ string) error {
		attempts.Add(1)
		if !sleep(ctx, redialAfter*3/2) {
			return ctx.Err()
		}
		return nil
	})
	_, front := serveWith(t, f, nil, app.Target)
	if o := testkit.Receive(t, begin(front, "GET", ""), "the answer"); o.body != "slow" {
		t.Errorf("%+v", o)
	}
	if n := attempts.Load(); n < 2 {
		t.Errorf("%d attempts, want another beside the slow one", n)
	}
}

// TestNewestAttemptThatIsRefusedEndsTheDial since the older ones go to where the target
// was: a request that is held asks again much sooner than they end.
func TestNewestAttemptThatIsRefusedEndsTheDial(t *testing.T) {
	t.Parallel()
	f := newTestForwarder()
	var attempts atomic.Int64
	onDial(f, func(ctx context.Context, _ string) error {
		if attempts.Add(1) == 1 {
			return swallow(ctx)
		}
		return syscall.ECONNREFUSED
	})
	r, _ := serveWith(t, f, nil, testkit.RefusedAddress)
	start := time.Now()
	_, err := r.upstreams[0].dialer().dial(t.Context())
	if took := time.Since(start); took >= dialTimeout-redialAfter || !errors.Is(err, syscall.ECONNREFUSED) || !isDialError(err) {
		t.Errorf("%v after %s, want it refused", err, took)
	}
	if dial, _ := errors.AsType[*dialError](err); dial.began.Sub(start) < redialAfter {
		t.Errorf("the error counts from %s, want it from when its attempt began", dial.began.Sub(start))
	}
}

// TestDialEndsWithTheHold but for one attempt.
func TestDialEndsWithTheHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const hold = 3 * time.Second
		r := monitored(1)
		r.Spec.Options.HoldTimeout = api.Duration(hold)
		d := r.upstreams[0].dialer()
		start := time.Now()
		first, last := time.Duration(0), time.Duration(0)
		r.upstreams[0].transport = &fakeApp{answer: func(ctx context.Context) (int, error) {
			if last = d.timeout(ctx); first == 0 {
				first = last
			}
			if last < dialTimeout && time.Since(start)+last > hold+redialAfter {
				t.Errorf("a dial may take %s after %s", last, time.Since(start))
			}
			return dead(ctx)
		}}
		in := httptest.NewRequest("GET", "/", nil)
		if _, err := r.roundTrip(&exchange{client: t.Context(), in: in, slot: slot{release: r}}, in); !isDialError(err) {
			t.Error(err)
		}
		if first != dialTimeout || last != redialAfter {
			t.Errorf("the first dial may take %s and the last %s, want %s and %s", first, last, dialTimeout, redialAfter)
		}
	})
}

// TestHealthCountsFromWhenItWasAsked so that what takes long to fail does not take back a
// success that came meanwhile.
func TestHealthCountsFromWhenItWasAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := monitored(1)
		r.Spec.Options.HoldTimeout = 0
		u := r.upstreams[0]
		u.transport = &fakeApp{answer: func(context.Context) (int, error) {
			began := time.Now()
			time.Sleep(dialTimeout)
			return 0, &dialError{syscall.EHOSTUNREACH, began}
		}}
		time.AfterFunc(time.Second, func() { u.observe(probeResult{}, time.Now()) })
		in := httptest.NewRequest("GET", "/", nil)
		ask := func() { _, _ = r.roundTrip(&exchange{client: t.Context(), in: in, slot: slot{release: r}}, in) }
		if ask(); u.currentHealth().state != api.HealthHealthy {
			t.Errorf("an old dial makes it %+v", u.currentHealth())
		}
		if ask(); !u.failing() {
			t.Errorf("a new dial leaves it %+v", u.currentHealth())
		}
	})
}
