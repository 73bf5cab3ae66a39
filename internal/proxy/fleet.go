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
	// Drives reports whether it is this proxy that has the rollouts of a service go on. At most moments one of all does;
	// if two think so, the fleet decides what one of them proposes.
	Drives(service string) bool
	// Reports returns the id of this process among those of the fleet, and what the other proxies have told last.
	Reports() (self string, others []Told)
	// AwaitDrained waits until every other proxy goes by what was decided about a service at a revision, and
	// holds nothing of releases that have left it. It is for a service of which [ServiceReport]s are made. It
	// returns what they had to cut lately, with a step for each release, and an [api.Error] with
	// [api.CodeFleetIncomplete] for those that are not known to.
	AwaitDrained(ctx context.Context, service string, revision uint64, limits api.DrainLimits) (cuts []api.FleetStep, err error)
}

// Told is what another proxy of the fleet has told last.
type Told struct {
	// ID is that of its process.
	ID string
	Report
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
	// Yields has it not be proposed while another change of the service is under way.
	Yields bool
	// Without are names of proxies that are known to be gone, and are not waited for.
	Without []string
	// Anyway has nobody wait for proxies that are not heard of: those that are there are to go by it at once.
	Anyway bool
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
