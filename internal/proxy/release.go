package proxy

import (
	"sync/atomic"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
)

// release is a release as the engine knows it: what carries its requests, and what
// belongs to its service alone.
type release struct {
	*forward.Release
	// keyPair is the certificate of the service's own; nil without one.
	keyPair *keyPair
	// certified says that there were certificates for all hosts before the release took
	// traffic, or have been since.
	certified atomic.Bool
	// drained is closed when the drain has ended.
	drained chan struct{}
}

// newRelease returns a release that has no traffic yet. It opens nothing.
func (e *Engine) newRelease(s api.Spec) *release {
	r := &release{Release: e.forwarder.NewRelease(s), drained: make(chan struct{})}
	if t := s.Options.TLS; t != nil && t.OwnFiles() {
		r.keyPair = newKeyPair(t, s.Hosts)
	}
	return r
}
