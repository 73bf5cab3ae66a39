package fleet

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Store keeps what the proxies of a fleet tell each other. Its errors, other than those that are
// named here, mean that nobody knows whether the call has had an effect. An [*api.Error] means that it has
// had none, and never will.
type Store interface {
	// Beat writes the lease of a proxy, and returns the one that was there; the zero value if there was
	// none.
	Beat(ctx context.Context, l Lease) (Lease, error)
	// Leave removes a lease: the proxy of that name is missed by nobody.
	Leave(ctx context.Context, name string) error
	// Leases returns those of all proxies.
	Leases(ctx context.Context) ([]Lease, error)

	// Propose makes a plan the newest of its service, in place of the one before, and returns its
	// revision. It returns [ErrSuperseded] if the service is not at the plan's base any more. If the one before was
	// decided, whoever has proposed it goes on to get acknowledgements of it.
	Propose(ctx context.Context, p Plan) (uint64, error)
	// Withdraw removes a plan, if it is the newest of its service, and its acknowledgements.
	Withdraw(ctx context.Context, p Plan) error
	// Abandon is Withdraw for a plan that has not been decided, and leaves one that has: in one step, so that
	// the plan is not decided later.
	Abandon(ctx context.Context, p Plan) error
	// Ack has the proxy that has proposed a plan get the acknowledgement of another one, in place of the one before.
	// An acknowledgement of a plan that was withdrawn, or was never decided, need not get anywhere.
	Ack(ctx context.Context, a Ack) error
	// Acks returns the acknowledgements of a plan. It is for the proxy that has proposed it.
	Acks(ctx context.Context, plan string) ([]Ack, error)

	// Decide makes what a plan says the state of its service, if the service is at the plan's base,
	// the plan is the newest of the service, and no other service has any of the routes: one
	// step for whoever looks. It returns the revision of the decision. Once a plan is decided, it returns the
	// same again. The errors are [ErrSuperseded], [ErrAbandoned] and a [*ClaimedError].
	Decide(ctx context.Context, p Plan) (uint64, error)
	// Look returns the newest plan and the decision of every service that has one.
	Look(ctx context.Context) (State, error)
	// Advance has each revision from now on be later than one. A store that has lost its data would
	// begin with those that proxies have seen before. Until then, its other calls may return [ErrLost].
	Advance(ctx context.Context, revision uint64) error
	// Changed receives when a plan or a decision may be new, and Acked when an acknowledgement of a plan may be that
	// was proposed by this store. Both may be nil: whoever waits looks now and then as well.
	Changed() <-chan struct{}
	Acked() <-chan struct{}
}

// Opener opens a store. The modules of Caddy's namespace parachute.fleet implement it.
type Opener interface {
	// Open returns the store for the proxy of a name, which has a directory of its own, and what
	// ends it. It neither reaches nor starts anything, since a config that is only validated is
	// opened, too: the first call of the store does.
	Open(name, dir string, logger *zap.Logger) (Store, func(), error)
}

// CertificateStorage is a storage of certificates that gives a fleet, by itself, those that this proxy has had before. Caddy
// storages that are not one are given them.
type CertificateStorage interface {
	// AwaitShared returns when the fleet has them, or the cause of ctx.
	AwaitShared(ctx context.Context) error
}

// ErrSuperseded means that a newer proposal for the service has come, or was decided.
var ErrSuperseded = errors.New("superseded")

// ErrAbandoned means that a plan has been withdrawn or abandoned, and no other one has come in its place.
var ErrAbandoned = errors.New("given up")

// ClaimedError means that another service has a route.
type ClaimedError struct {
	Route   api.Route
	Service string
}

func (e *ClaimedError) Error() string {
	return fmt.Sprintf("the route %s belongs to the service %s", e.Route, e.Service)
}
