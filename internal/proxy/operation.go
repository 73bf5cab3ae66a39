package proxy

import "time"

// operation is a deployment that was accepted, with what its steps hand to each other.
type operation struct {
	e   *Engine
	svc *service
	d   *Deployment
	// next is the release that is to serve, old the one that served before the commit;
	// nil if there was none.
	next, old *release
	// taken is what others lose to next.
	taken []takeover
	// rollout brings next into service, or watches it; nil if it serves and is trusted from
	// the commit on.
	rollout *rollout
	// healthySince is when the gate saw the first target healthy.
	healthySince time.Time
	// ballot is what the fleet decides with, or a proxy that is alone.
	ballot Ballot
	// proposed is the line-up that was proposed to the fleet, and so is what follows the commit; nil without one.
	proposed *lineup
	// unfinished says which proxies of the fleet do not serve the release; nil if all do.
	unfinished error
	// cut says what this proxy of a fleet had to cut, if the deployment is to fail for that.
	cut error
	// certifying says that certificates have been asked for.
	certifying bool
}
