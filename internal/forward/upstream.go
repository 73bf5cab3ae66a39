package forward

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/transport"
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

// upstreamTransport carries requests to one target.
type upstreamTransport interface {
	http.RoundTripper
	// Close gives up pooled connections, now and in future.
	Close()
	// Stats counts connections.
	Stats() transport.Stats
}

// missed takes into account that a request was not answered in time.
func (u *upstream) missed() {
	u.healthMu.Lock()
	defer u.healthMu.Unlock()
	if u.health.missed == 0 {
		u.health.missedSince = time.Now()
	}
	u.health.missed++
	u.missing.Store(true)
}

// answered takes into account that a request was answered.
func (u *upstream) answered() {
	if !u.missing.Load() {
		return // as nearly always: that costs no lock
	}
	u.healthMu.Lock()
	defer u.healthMu.Unlock()
	u.health.missed, u.health.missedSince = 0, time.Time{}
	u.missing.Store(false)
}

// observe takes the result of a probe, or of an attempt to connect, into account that
// began at began, and reports whether the state changed. It counts for nothing beside one
// that began later: what takes long to fail says how the target was.
func (u *upstream) observe(result probeResult, began time.Time) (health, bool) {
	u.healthMu.Lock()
	defer u.healthMu.Unlock()
	if began.Before(u.health.seen) {
		return u.health, false
	}
	before := u.health.state
	u.health = u.health.after(result, time.Now())
	u.health.seen = began
	u.missing.Store(u.health.missed > 0)
	return u.health, u.health.state != before
}

func (u *upstream) currentHealth() health {
	u.healthMu.Lock()
	defer u.healthMu.Unlock()
	h := u.health
	if h.state == "" {
		h.state = api.HealthUnverified
	}
	return h
}

func (u *upstream) failing() bool { return u.currentHealth().state == api.HealthFailing }
