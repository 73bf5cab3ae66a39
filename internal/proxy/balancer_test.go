package proxy

import (
	"testing"
	"time"
)

func TestPickPrefersTheHealthyAndTheIdle(t *testing.T) {
	_, r := monitored(3)
	defer r.close()
	a, b, c := r.upstreams[0], r.upstreams[1], r.upstreams[2]
	for range 50 {
		a.inFlight.Store(2)
		b.inFlight.Store(1)
		c.inFlight.Store(3)
		if got := r.pick(nil, nil); got != b {
			t.Fatalf("picked %s, want the one with the fewest requests", got.target)
		}
		if got := r.pick(nil, []*upstream{b}); got != a {
			t.Fatalf("picked %s, want the next", got.target)
		}
		if got := r.pick(nil, []*upstream{a, b, c}); got != nil {
			t.Fatalf("picked %s, want none: all were tried", got.target)
		}
	}
	fail(a)
	fail(b)
	if got := r.pick(nil, nil); got != c {
		t.Errorf("picked %s, want the only healthy one, however busy", got.target)
	}
	if got := r.pick(nil, []*upstream{c}); got != b {
		t.Errorf("picked %s, want the less busy of those that fail", got.target)
	}
	b.observe(probeResult{}, time.Now())
	if got := r.pick(nil, nil); got != b {
		t.Errorf("picked %s, want the one that is back", got.target)
	}
}

func TestPickSharesAmongEquals(t *testing.T) {
	_, r := monitored(3)
	defer r.close()
	picked := make(map[*upstream]int)
	for range 3000 {
		picked[r.pick(nil, nil)]++
	}
	for _, u := range r.upstreams {
		if n := picked[u]; n < 800 || n > 1200 {
			t.Errorf("%s is picked %d times of 3000", u.target, n)
		}
	}
}
