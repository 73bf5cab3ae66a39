package forward

import (
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

func TestPickPrefersTheHealthyAndTheIdle(t *testing.T) {
	r := monitored(3)
	defer r.Close()
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
	r := monitored(3)
	defer r.Close()
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

func TestTargetsTakeTurns(t *testing.T) {
	r := monitored(3)
	defer r.Close()
	r.Spec.Options.LB = api.RoundRobin
	r.upstreams[0].inFlight.Store(100) // which does not matter
	first := r.pick(nil, nil)
	second := r.pick(nil, nil)
	third := r.pick(nil, nil)
	if first == second || second == third || first == third {
		t.Errorf("picked %s, %s, %s: want one after the other", first.target, second.target, third.target)
	}
	if again := r.pick(nil, nil); again != first {
		t.Errorf("picked %s, want it to be the turn of %s again", again.target, first.target)
	}
	fail(second)
	for range 10 {
		if got := r.pick(nil, nil); got == second {
			t.Fatal("picked a target that fails")
		}
	}
}

func TestEveryWayOfLoadBalancingHasAPolicy(t *testing.T) {
	for _, name := range api.LoadBalancings() {
		if p := policies[name]; p.first == nil || p.load == nil {
			t.Errorf("%s has no policy", name)
		}
	}
	if len(policies) != len(api.LoadBalancings()) {
		t.Errorf("%d policies, and %d ways of load balancing that a deploy may ask for", len(policies), len(api.LoadBalancings()))
	}
}

// BenchmarkAcquire measures what counts a request on its release and takes it off again, on all cores at once.
func BenchmarkAcquire(b *testing.B) {
	r := monitored(1)
	defer r.Close()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if r.Acquire() {
				r.Done()
			}
		}
	})
}

// BenchmarkPick measures the choice of a target, of which each request has one more in flight.
func BenchmarkPick(b *testing.B) {
	for _, lb := range []api.LoadBalancing{api.LeastConn, api.RoundRobin} {
		b.Run(string(lb), func(b *testing.B) {
			r := monitored(3)
			defer r.Close()
			r.Spec.Options.LB = lb
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					u := r.pick(nil, nil)
					u.inFlight.Add(1)
					u.inFlight.Add(-1)
				}
			})
		})
	}
}
