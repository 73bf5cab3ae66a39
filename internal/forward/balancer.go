package forward

import (
	"slices"

	"github.com/parachute-proxy/parachute/internal/api"
)

// policies are the ways that there are. Each has a file.
var policies = map[api.LoadBalancing]policy{
	api.LeastConn:  leastConn,
	api.RoundRobin: roundRobin,
}

// pick chooses the upstream for a request, of those that are not in tried. Targets
// that are not failing come first, and among those the one that the client has
// been with before, if it is to stick to it. If all were tried, it returns nil. A request that
// reads goes to a read target, if there is one that is not failing. x may be nil if r has neither read targets
// nor sticky clients.
func (r *Release) pick(x *exchange, tried []*upstream) *upstream {
	if len(r.upstreams) == 1 && len(tried) == 0 {
		return r.upstreams[0]
	}
	if r.hasReadTargets() {
		if u := r.pickReader(x, tried); u != nil {
			return u
		}
	}
	if r.Spec.Options.Sticky {
		if u := r.upstreamOfClient(x); u != nil && !u.failing() && !slices.Contains(tried, u) {
			return u
		}
	}
	return r.pickOf(r.writers(), tried)
}

// pickOf chooses one of upstreams for a request, of those that are not in tried; nil if there
// is none.
func (r *Release) pickOf(upstreams, tried []*upstream) *upstream {
	policy := policies[r.Spec.Options.LB]
	start := policy.first(r)
	var best *upstream
	var bestFailing bool
	var bestLoad int64
	for i := range uint64(len(upstreams)) {
		u := upstreams[(start+i)%uint64(len(upstreams))]
		if slices.Contains(tried, u) {
			continue
		}
		failing, load := u.failing(), policy.load(u)
		if best == nil || bestFailing && !failing || bestFailing == failing && load < bestLoad {
			best, bestFailing, bestLoad = u, failing, load
		}
	}
	return best
}
