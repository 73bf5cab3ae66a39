package proxy

import (
	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
)

// service is the control plane's record of a service.
type service struct {
	name string
	// active is what the routing table has of the service; nil if it has never
	// been deployed.
	active *claim
	// lastVersion is the number of the newest release.
	lastVersion int
	// generation counts the changes of the service.
	generation uint32
	// operations counts the operations that are under way and are no deployments. As long as
	// there are any, the record stays, so that they and new deployments share one commit slot.
	operations int32
	// deployments are those that are under way, the oldest first.
	deployments []*Deployment
	// committing is taken by the operation that is writing the service's state.
	committing chan struct{}
	// draining are releases that still have traffic.
	draining []*release
	// drained is how the last ones have drained.
	drained []api.Drain
	// cuts is what the fleet is told of the cuts in them.
	cuts []toldCut
	// traffic is what all its releases carry.
	traffic *forward.Traffic
	// retired counts the requests of releases that have drained.
	retired int64
	// unstored are what others have left that this service has taken routes from, where that
	// could not be stored. It is guarded by the commit slot.
	unstored []takeover
	// broken says why the state of the service could not be loaded.
	broken error
	// known is what a broken service was deployed with; nil if that could not be loaded, or
	// if it is not broken.
	known *api.Spec
}

// release returns the release that serves, or nil.
func (s *service) release() *release {
	if s.active == nil {
		return nil
	}
	return s.active.release()
}

// lineup returns what becomes of the requests for the service, which may be nil; nil if it serves
// nothing.
func (s *service) lineup() *lineup {
	if s == nil || s.active == nil {
		return nil
	}
	return s.active.lineup.Load()
}

// hold returns the hold of the service; nil if it serves.
func (s *service) hold() *hold {
	return s.lineup().holdOf()
}

// servingVersion returns the number of the release that serves, or 0.
func (s *service) servingVersion() int {
	if r := s.release(); r != nil {
		return r.Version
	}
	return 0
}

// takeover is what a deployment takes from another service: routes, which its release
// serves up to the switch.
type takeover struct {
	svc *service
	// from is the release that serves the routes; nil if only a deployment wants them.
	from *release
	// routes are what from loses.
	routes []api.Route
	// hold is the hold of the service; nil if it serves.
	hold *hold
	// left is what from is after the switch; nil if it has no route left.
	left *release
}
