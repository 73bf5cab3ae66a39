package forward

import (
	"sync"
	"sync/atomic"

	"github.com/parachute-proxy/parachute/internal/api"
)

// upstream is the running side of a [api.Target]: its connections, its load and its
// health, as one release sees them. Two releases with the same address share
// none of it, so that redeploying an address drains nothing but the old release.
type upstream struct {
	target    api.Target
	transport upstreamTransport
	prober    *prober
	monitor   monitor
	inFlight  atomic.Int64

	// healthMu guards health.
	healthMu sync.Mutex
	health   health
}

func newUpstream(t api.Target, r *Release) *upstream {
	return &upstream{
		target:    t,
		transport: newTransport(t, r.Spec.Options, &r.alive, r.forwarder),
		prober:    newProber(t, r),
	}
}
