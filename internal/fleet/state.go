package fleet

import (
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

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
	// Report is what the proxy tells of itself, a [proxy.Report] in JSON. It is a string so that leases can be
	// compared; empty if it tells nothing.
	Report string `json:"report,omitempty"`
}

// Plan is a proposal as the store keeps it.
type Plan struct {
	ID      string `json:"id"`
	Service string `json:"service"`
	// Revision orders the plans; the store gives it.
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

// State is what the store has of the services.
type State struct {
	// Revision is that up to which the state has all decisions. It may have later ones, but not all of them.
	Revision  uint64
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

// isAwaited reports whether somebody may wait for acknowledgements of a decision: its plan has not been withdrawn, or another
// one has come in its place, which hides whether it has.
func (s State) isAwaited(d Decision) bool {
	_, ok := s.Plan(d.Service)
	return ok
}

// Check returns why a plan cannot be decided in a state; nil if it can. It is for stores.
func (s State) Check(p Plan) error {
	if d, _ := s.Decision(p.Service); d.Revision != p.Base {
		return ErrSuperseded
	}
	// The proxies have given up what they had ready for a plan that is not the newest.
	switch newest, ok := s.Plan(p.Service); {
	case !ok:
		return ErrAbandoned
	case newest.ID != p.ID:
		return ErrSuperseded
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
