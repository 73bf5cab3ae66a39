package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Backend keeps what the proxies of a fleet tell each other. Its errors, other than those that are
// named here, mean that nobody knows whether the call has had an effect. An [*api.Error] means that it has
// had none, and never will.
type Backend interface {
	// Beat writes the lease of a proxy, and returns the one that was there; the zero value if there was
	// none.
	Beat(ctx context.Context, l Lease) (Lease, error)
	// Leave removes a lease: the proxy of that name is missed by nobody.
	Leave(ctx context.Context, name string) error
	// Leases returns those of all proxies.
	Leases(ctx context.Context) ([]Lease, error)

	// Propose makes a plan the newest of its service, in place of the one before, and returns its
	// revision. It returns [ErrSuperseded] if the service is not at the plan's base any more.
	Propose(ctx context.Context, p Plan) (uint64, error)
	// Withdraw removes a plan, if it is the newest of its service, and its acknowledgements.
	Withdraw(ctx context.Context, p Plan) error
	// Ack writes the acknowledgement of one proxy in place of the one before.
	Ack(ctx context.Context, a Ack) error
	// Acks returns the acknowledgements of a plan.
	Acks(ctx context.Context, plan string) ([]Ack, error)

	// Decide makes what a plan says the state of its service, if the service is at the plan's base,
	// the plan is the newest of the service, and no other service has any of the routes: one
	// step for whoever looks. It returns the revision of the decision. Once a plan is decided, it returns the
	// same again. The errors are [ErrSuperseded] and a [*ClaimedError].
	Decide(ctx context.Context, p Plan) (uint64, error)
	// Look returns the newest plan and the decision of every service that has one.
	Look(ctx context.Context) (State, error)
	// Advance has each revision from now on be later than one. A store that has lost its data would
	// begin with those that proxies have seen before. Until then, its other calls may return [ErrLost].
	Advance(ctx context.Context, revision uint64) error
	// Changed receives when there may be something new. It may be nil.
	Changed() <-chan struct{}
}

// Opener opens a backend. The modules of Caddy's namespace parachute.fleet implement it.
type Opener interface {
	// Open returns the backend for the proxy of a name, which has a directory of its own, and what
	// ends it. It neither reaches nor starts anything, since a config that is only validated is
	// opened, too: the first call of the backend does.
	Open(name, dir string, logger *zap.Logger) (Backend, func(), error)
}

// ErrSuperseded means that a newer proposal for the service has come, or was decided.
var ErrSuperseded = errors.New("superseded")

// ClaimedError means that another service has a route.
type ClaimedError struct {
	Route   api.Route
	Service string
}

func (e *ClaimedError) Error() string {
	return fmt.Sprintf("the route %s belongs to the service %s", e.Route, e.Service)
}

// Lease says that a proxy is there.
type Lease struct {
	// Name is that of the proxy, Incarnation that of its process, which no other one has.
	Name        string `json:"name"`
	Incarnation string `json:"incarnation"`
	// Beats counts what the process has written. A lease whose count does not move is over.
	Beats   uint64 `json:"beats"`
	Version string `json:"version"`
	// Ready says that the proxy has caught up.
	Ready bool `json:"ready"`
}

// Plan is a proposal as the backend keeps it.
type Plan struct {
	ID      string `json:"id"`
	Service string `json:"service"`
	// Revision orders the plans; the backend gives it.
	Revision uint64 `json:"revision"`
	// Coordinator is the proxy that has proposed it, for people who look into the store.
	Coordinator string `json:"coordinator"`
	// Base is the revision of the decision that it is to follow; 0 for the first.
	Base uint64 `json:"base"`
	// Document is what the service is to be; empty if it is to be removed.
	Document []byte      `json:"document,omitempty"`
	Routes   []api.Route `json:"routes,omitempty"`
	Force    bool        `json:"force,omitempty"`
	// Timeout is how long a proxy keeps what it has prepared, from when it hears of the plan.
	Timeout time.Duration `json:"timeout"`
}

// Decision is the state of a service.
type Decision struct {
	Service  string `json:"service"`
	Revision uint64 `json:"revision"`
	// Plan is the id of what was decided.
	Plan string `json:"plan"`
	// Document is empty if the service was removed.
	Document []byte      `json:"document,omitempty"`
	Routes   []api.Route `json:"routes,omitempty"`
}

// Ack is what one proxy says of a plan.
type Ack struct {
	Plan string        `json:"plan"`
	Step api.FleetStep `json:"step"`
	// Error is why it has refused.
	Error *api.Error `json:"error,omitempty"`
}

// State is what the backend has of the services.
type State struct {
	Plans     []Plan
	Decisions []Decision
}

// Plan returns the newest plan of a service, if there is one.
func (s State) Plan(service string) (Plan, bool) {
	for _, p := range s.Plans {
		if p.Service == service {
			return p, true
		}
	}
	return Plan{}, false
}

// Decision returns the decision of a service, if there is one.
func (s State) Decision(service string) (Decision, bool) {
	for _, d := range s.Decisions {
		if d.Service == service {
			return d, true
		}
	}
	return Decision{}, false
}

// Check returns why a plan cannot be decided in a state; nil if it can. It is for backends.
func (s State) Check(p Plan) error {
	if d, _ := s.Decision(p.Service); d.Revision != p.Base {
		return ErrSuperseded
	}
	if newest, ok := s.Plan(p.Service); !ok || newest.ID != p.ID {
		return ErrSuperseded // the proxies have given up what they had ready for this one
	}
	wanted := make(map[api.Route]bool, len(p.Routes))
	for _, r := range p.Routes {
		wanted[r] = true
	}
	for _, d := range s.Decisions {
		for _, r := range d.Routes {
			if d.Service != p.Service && wanted[r] {
				return &ClaimedError{Route: r, Service: d.Service}
			}
		}
	}
	return nil
}
