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
	// Spec is what was deployed, without the routes that other services have taken over
	// since. It must not be changed.
	Spec *api.Spec
	// takenFrom are the services that it, or a release before it, has taken routes from.
	takenFrom []string
	// from is the release that was rolled back to; 0 if it was no rollback.
	from int
	// restored is the line-up that was stored, of which it is the active release, for the
	// start alone; nil for one that was deployed.
	restored *lineup
	// lastVersion is the number of the newest release that was stored with it, for the start
	// alone.
	lastVersion int
	// samples are how its requests have ended so far, now and then; nil before the first. They
	// are guarded by Engine.mu.
	samples *samples
	// handlers are what its requests pass on their way to a target; nil if they pass nothing.
	handlers *chainSlot
	// clients are those that it serves; nil if it serves all.
	clients *trustedClients
	// keyPair is the certificate of the service's own; nil without one.
	keyPair *keyPair
	// certified says that there were certificates for all hosts before the release took
	// traffic, or have been since.
	certified atomic.Bool
	// drain is that of a release that has left; nil as long as it has a part in its service.
	drain *drain
}

// Status describes r.
func (r *release) Status() api.ReleaseStatus {
	s := r.Release.Status()
	s.Options, s.From, s.Note = r.Spec.Options, r.from, r.Spec.Note
	s.OptionSeconds = s.Options.Seconds()
	return s
}

// with returns r, which goes on, with another spec.
func (r *release) with(spec *api.Spec) *release {
	next := &release{Release: r.Release, Spec: spec, takenFrom: r.takenFrom, from: r.from, restored: r.restored, lastVersion: r.lastVersion, samples: r.samples, handlers: r.handlers, clients: r.clients}
	if r.keyPair != nil {
		next.keyPair = newKeyPair(spec.Options.TLS, spec.Hosts)
		next.keyPair.current.Store(r.keyPair.current.Load())
	}
	next.certified.Store(r.certified.Load())
	return next
}

func versionOf(r *release) int {
	if r == nil {
		return 0
	}
	return r.Version
}

// drain is how a release ends.
type drain struct {
	// over is closed when the release has drained, of which result then tells.
	over   chan struct{}
	result api.Drain
}
