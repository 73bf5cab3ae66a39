package api

import (
	"time"
)

// State is where a deployment is in its life. See the package comment.
type State string

// The states of a deployment. The last six are final.
const (
	StateValidated State = "validated"
	StateProbing   State = "probing"
	StateHealthy   State = "healthy"
	StateCertified State = "certified"
	StateSwitched  State = "switched"
	// StateCanary is a release that gets a share of the clients, StateWatching one that serves
	// all, while the old one is ready to take over.
	StateCanary     State = "canary"
	StateWatching   State = "watching"
	StateDraining   State = "draining"
	StateDone       State = "done"
	StateFailed     State = "failed"
	StateSuperseded State = "superseded"
	StateCancelled  State = "cancelled"
	// StateReverted is a deployment whose release has left again, StateUndecided one whose
	// release gets a share of the clients until somebody decides.
	StateReverted  State = "reverted"
	StateUndecided State = "undecided"
)

// Final reports whether a deployment in state s has ended.
func (s State) Final() bool {
	switch s {
	case StateDone, StateFailed, StateSuperseded, StateCancelled, StateReverted, StateUndecided:
		return true
	}
	return false
}

// DeploymentStatus is a deployment as it is seen from outside.
type DeploymentStatus struct {
	ID      string   `json:"id"`
	Service string   `json:"service"`
	State   State    `json:"state"`
	Targets []string `json:"targets"`
	// Started and Ended are in UTC; Ended is absent while the deployment runs.
	Started time.Time  `json:"started"`
	Ended   *time.Time `json:"ended,omitempty"`
	// From is the release that is rolled back to; absent if it is no rollback.
	From int `json:"from,omitempty"`
	// Release is the number of the new release, once it is in service.
	Release int `json:"release,omitempty"`
	// Previous is the number of the release it replaced; 0 if there was none.
	Previous int `json:"previous,omitempty"`
	// Serving is the number of the release that serves now that the deployment
	// has ended; 0 if none does.
	Serving int `json:"serving,omitempty"`
	// Rollout is what the deployment is at, or was last, if its release is not brought into
	// service at once.
	Rollout *RolloutStatus `json:"rollout,omitempty"`
	// Kept is the release that stays ready for a rollback: its targets must not be removed.
	Kept int `json:"kept,omitempty"`
	// SwitchTime is how long the switch took.
	SwitchTime Seconds `json:"switch_seconds,omitempty"`
	// Changes are the settings that differ from those of the release before,
	// each as "name: old -> new".
	Changes []string `json:"changes,omitempty"`
	// Warnings are what a person should know of it that does not stop it; see [Warnings].
	Warnings []string `json:"warnings,omitempty"`
	// TakenOver tells of the routes that came from other services.
	TakenOver []TakenOver   `json:"taken_over,omitempty"`
	Probes    []ProbeReport `json:"probes,omitempty"`
	// Certificates are those of the hosts, by host.
	Certificates []Certificate `json:"certificates,omitempty"`
	Drained      []Drain       `json:"drained,omitempty"`
	// Fleet is how far each proxy of the fleet has come, by name; absent without a fleet.
	Fleet []FleetStep `json:"fleet,omitempty"`
	// Cut is what had to be cut to drain the old release; absent if nothing had to be.
	Cut   *Cut   `json:"cut,omitempty"`
	Error *Error `json:"error,omitempty"`
}
