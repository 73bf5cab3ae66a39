package proxy

import (
	"math/rand/v2"
	"slices"
)

// pick chooses the upstream for a request: of those not in tried, the one with
// the fewest requests in flight, a random one of several; targets that are not
// failing come first. If all were tried, it returns nil.
func (r *Release) pick(x *exchange, tried []*upstream) *upstream {
	if len(r.upstreams) == 1 && len(tried) == 0 {
		return r.upstreams[0]
	}
	var best *upstream
	var bestFailing bool
	var bestLoad int64
	// A random start makes the first of equals a random one.
	for i, start := 0, rand.IntN(len(r.upstreams)); i < len(r.upstreams); i++ {
		u := r.upstreams[(start+i)%len(r.upstreams)]
		if slices.Contains(tried, u) {
			continue
		}
		failing, load := u.failing(), u.inFlight.Load()
		if best == nil || bestFailing && !failing || bestFailing == failing && load < bestLoad {
			best, bestFailing, bestLoad = u, failing, load
		}
	}
	return best
}
