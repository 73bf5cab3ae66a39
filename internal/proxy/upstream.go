package proxy

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
)

// transport carries requests to one target. [http.Transport] is one.
type transport interface {
	http.RoundTripper
	// CloseIdleConnections closes pooled connections.
	CloseIdleConnections()
}

// upstream is the running side of a [Target]: its connections, its load and its
// health, as one release sees them. Two releases with the same address share
// none of it, so that redeploying an address drains nothing but the old release.
type upstream struct {
	target    Target
	transport transport
	prober    *prober
	monitor   monitor
	inFlight  atomic.Int64

	// healthMu guards health.
	healthMu sync.Mutex
	health   health
}

func newUpstream(t Target, r *Release, opts EngineOptions) *upstream {
	return &upstream{
		target:    t,
		transport: newTransport(t, r.options, r.alive, opts),
		prober:    newProber(t, r.options, r.hosts, r.alive, opts),
	}
}

// pick chooses the upstream for a request: of those not in tried, the one with
// the fewest requests in flight, a random one of several; targets that are not
// failing come first. If all were tried, it returns nil.
func (r *Release) pick(tried []*upstream) *upstream {
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
