package forward

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/parachute-proxy/parachute/internal/api"
)

// upstream is the running side of a [api.Target]: its connections, its load and its
// health, as one release sees them. Two releases with the same address share
// none of it, so that redeploying an address drains nothing but the old release.
type upstream struct {
	target    api.Target
	dialer    *targetDialer
	transport upstreamTransport
	prober    *prober
	monitor   monitor
	inFlight  atomic.Int64

	// healthMu guards health.
	healthMu sync.Mutex
	health   health
	// missing says that health.missed is not 0.
	missing atomic.Bool
}

func newUpstream(t api.Target, r *Release) *upstream {
	name := &targetName{outage: func(last netip.Addr, err error) { r.forwarder.opts.LookupFailing(r, t, last, err) }}
	d := &targetDialer{target: t, dialer: r.forwarder.dialer, alive: &r.alive, name: name}
	return &upstream{target: t, dialer: d, transport: newTransport(d, r), prober: newProber(t, r, name)}
}
