package forward

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/parachute-proxy/parachute/internal/api"
)

// upstream is the running side of a [api.Target]: its connections, its load and its
// health. The releases of a service that have the target one after the other share it, if
// they reach and check it in the same way (see [Release.Inherit]): an instance that stays is
// no other one because its service has a new release. Two releases with the same address and
// other options share nothing.
//
// What is counted by release, so that a drain is exact, is not here but in [Release]. What
// ends with a release, such as a cut, is not here either: inFlight is the load that all
// releases bring to the target.
type upstream struct {
	target    api.Target
	dialer    *targetDialer
	transport upstreamTransport
	prober    *prober
	monitor   monitor
	inFlight  atomic.Int64

	// holders is the number of releases that have it and are not closed.
	holders atomic.Int64
	// alive ends when there are none: its connections are closed and dials that are under
	// way are abandoned.
	alive endSignal

	// healthMu guards health.
	healthMu sync.Mutex
	health   health
	// missing says that health.missed is not 0.
	missing atomic.Bool
}

func newUpstream(t api.Target, r *Release) *upstream {
	u := &upstream{target: t}
	u.holders.Store(1)
	u.monitor.of = r
	failing := r.forwarder.opts.LookupFailing
	name := &targetName{outage: func(last netip.Addr, err error) { failing(u.monitor.release(), t, last, err) }}
	u.dialer = &targetDialer{target: t, dialer: r.forwarder.dialer, alive: &u.alive, name: name}
	u.transport, u.prober = newTransport(u.dialer, r), newProber(u, r)
	return u
}

// hold has one more release hold u, unless u is closed.
func (u *upstream) hold() bool {
	for {
		n := u.holders.Load()
		if n == 0 {
			return false
		}
		if u.holders.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// letGo is called once by each release that holds u. The last one closes it.
func (u *upstream) letGo() {
	if u.holders.Add(-1) == 0 {
		u.alive.end()
		u.transport.Close()
	}
}
