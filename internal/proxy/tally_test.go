package proxy

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/forward"
)

func client(i byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, i}) }

// of returns what so many requests of a client come to, of which some have failed.
func (t *tally) of(addr netip.Addr, minute int64, requests, failures int) {
	for i := range requests {
		t.count(addr, minute, forward.Outcome{Failed: i < failures, Took: time.Millisecond})
	}
}

func TestOneClientFailsThreeTimesAMinuteAtMost(t *testing.T) {
	for _, c := range []struct {
		requests, failures int
		want               count
	}{
		{10, 0, count{10, 0}},
		{10, 3, count{10, 3}},
		{10, 6, count{5, 3}},    // the same rate
		{100, 100, count{3, 3}}, // as if it had come three times
		{1000, 100, count{30, 3}},
	} {
		tally := newTally(new(atomic.Bool), 0)
		tally.of(client(1), 1, c.requests, c.failures)
		if got := tally.all(); got != c.want {
			t.Errorf("%d of %d: %+v, want %+v", c.failures, c.requests, got, c.want)
		}
	}
	tally := newTally(new(atomic.Bool), 0)
	for minute := range int64(4) {
		tally.of(client(1), minute, 50, 50)
	}
	if got := tally.all(); got != (count{12, 12}) {
		t.Errorf("in four minutes: %+v", got)
	}
}

func TestClientThatMeetsMostFailuresIsLeftOut(t *testing.T) {
	tally := newTally(new(atomic.Bool), 0)
	tally.of(client(1), 1, 3, 3)
	if got := tally.withoutWorst(); got != (count{3, 3}) {
		t.Errorf("the only one: %+v", got)
	}
	tally.of(client(2), 1, 20, 1)
	tally.of(client(3), 1, 20, 0)
	if got := tally.withoutWorst(); got != (count{40, 1}) {
		t.Errorf("%+v", got)
	}
	// A load balancer that nobody has named, and somebody who comes by another way.
	tally = newTally(new(atomic.Bool), 0)
	tally.of(client(1), 1, 100, 100)
	tally.of(client(2), 1, 1, 0)
	if got := tally.withoutWorst(); got != (count{4, 3}) {
		t.Errorf("with one other: %+v", got)
	}
	// A crawler at night, with a few people.
	tally.of(client(3), 1, 1, 0)
	tally.of(client(4), 1, 1, 0)
	if got := tally.withoutWorst(); got != (count{3, 0}) {
		t.Errorf("with three others: %+v", got)
	}
}

func TestManyClientsCostBoundedMemory(t *testing.T) {
	tally := newTally(new(atomic.Bool), 0)
	const n = 3 * maxTalliedClients
	for i := range n {
		tally.count(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1, forward.Outcome{Failed: true})
	}
	if len(tally.clients) > maxTalliedClients || tally.all() != (count{n, n}) {
		t.Errorf("%d clients, %+v", len(tally.clients), tally.all())
	}
}

func TestSlowRequestsAreThoseOfALongerTime(t *testing.T) {
	tally := newTally(new(atomic.Bool), 10*time.Millisecond)
	for _, took := range []time.Duration{0, time.Millisecond, 10 * time.Millisecond, 11 * time.Millisecond, time.Hour} {
		tally.count(client(1), 1, forward.Outcome{Took: took})
	}
	if timed, slow := tally.times(); timed != 4 || slow != 2 {
		t.Errorf("%d timed, %d slow", timed, slow)
	}
}
