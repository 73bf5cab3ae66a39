package proxy

import (
	"context"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Fleet are the proxies that serve the same services, of which this one is one. They decide
// together what a service is: all of them or none. It is an interface because whoever implements
// it talks to others, which the engine does not.
type Fleet interface {
	// Propose has every other proxy of the fleet get ready for a change, and returns when all of
	// them are. step is told of each, possibly at the same time. An [api.Error] means that nothing
	// has changed: one of them cannot, a newer proposal for the service has come, the fleet cannot
	// decide at present ([api.CodeFleet]), or the cause of ctx if that has ended.
	Propose(ctx context.Context, p Proposal, step func(api.FleetStep)) (Ballot, error)
}

// Proposal is a change of a service that a fleet is to decide on.
type Proposal struct {
	// Deployment is the id of the deployment, or of the operation.
	Deployment string
	Service    string
	// Document is what the service is to be; nil has it removed.
	Document []byte
	// Routes are what the service is to have.
	Routes []api.Route
	// Base is the revision of the decision that the change was made of; 0 if there was none.
	Base uint64
	// Force has nobody ask the targets whether they are healthy.
	Force bool
	// Without are names of proxies that are known to be gone, and are not waited for.
	Without []string
	// Timeout bounds how long a proxy may take to get ready.
	Timeout time.Duration
}

// Ballot is a proposal that every proxy of the fleet is ready for.
type Ballot interface {
	// Decide decides: from its return on, the change stands, whatever becomes of this proxy. It
	// returns the revision of the decision. An [api.Error] means that nothing has changed, but for
	// one with [api.CodeFleetUnknown], which means that nobody could tell.
	Decide() (uint64, error)
	// Applied tells the others that this proxy goes by the decision, and waits until all of
	// them do. It returns an [api.Error] with [api.CodeFleetIncomplete] for those that do not.
	Applied(ctx context.Context) error
	// Drained waits until no other proxy holds anything of what served before, and returns how
	// that has drained in each. Its errors are those of Applied.
	Drained(ctx context.Context, limits api.DrainLimits) ([]api.FleetStep, error)
	// Close ends it. What was not decided is withdrawn. It may be called more than once.
	Close()
}

// noBallot is that of a proxy without a fleet, which decides alone.
type noBallot struct{}

func (noBallot) Decide() (uint64, error)       { return 0, nil }
func (noBallot) Applied(context.Context) error { return nil }
func (noBallot) Close()                        {}
func (noBallot) Drained(context.Context, api.DrainLimits) ([]api.FleetStep, error) {
	return nil, nil
}
