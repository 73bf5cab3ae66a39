package forward

import (
	"time"

	"github.com/parachute-proxy/parachute/internal/transport"
)

// newTransport returns the transport for requests to u's target, with the options of r. Its
// dials end with the last release that has the target, so that nothing reaches the address
// when that has drained.
func newTransport(u *upstream, r *Release) upstreamTransport {
	o := &r.Spec.Options
	if u.target.Scheme == "http" {
		return &transport.Transport{
			Dial:                  u.dial,
			ResponseHeaderTimeout: time.Duration(o.TargetTimeout),
			IdleTimeout:           idleConnTimeout,
			MaxIdle:               maxIdleConns,
		}
	}
	return newStandardTransport(u.target, u.dial, r.targetTLS(u.target), time.Duration(o.TargetTimeout))
}
