package forward

import (
	"context"
	"net"
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
//
// There are ten thousand of them with ten thousand services, so what is needed now and
// then, such as a prober, is made when it is needed: for the newest of the releases, but
// any of them would do.
type upstream struct {
	target api.Target
	// name is what is known of where the target is; nil if it is an address.
	name      *targetName
	transport upstreamTransport
	monitor   monitor
	inFlight  atomic.Int64

	// alive ends when no release has it any more: its connections are closed and dials that
	// are under way are abandoned.
	alive endSignal

	// healthMu guards health.
	healthMu sync.Mutex
	health   health
	// missing says that health.missed is not 0.
	missing atomic.Bool
	// holders is the number of releases that have it and are not closed.
	holders atomic.Int32
}

func newUpstream(t api.Target, r *Release) *upstream {
	u := &upstream{target: t}
	u.holders.Store(1)
	u.monitor.of = r
	if mayMove(t) {
		u.name = new(targetName)
	}
	u.transport = newTransport(u, r)
	return u
}

// dialer returns what connects to the target for its traffic.
func (u *upstream) dialer() *targetDialer { return &targetDialer{upstream: u, target: u.target} }

// probeDialer returns what connects to the target, or to another port of it, for requests of
// the proxy's own.
func (u *upstream) probeDialer(t api.Target) *targetDialer {
	return &targetDialer{upstream: u, target: t, watches: true}
}

// dial opens a connection for the traffic of the target.
func (u *upstream) dial(ctx context.Context) (net.Conn, error) { return u.dialer().dial(ctx) }

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
