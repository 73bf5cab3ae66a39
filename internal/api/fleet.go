package api

import "fmt"

// FleetPhase says how far one proxy of a fleet has come with a change of a service.
type FleetPhase string

const (
	// FleetPrepared is a proxy that has reached the targets from its place and has the certificates.
	FleetPrepared FleetPhase = "prepared"
	// FleetRefused is a proxy that cannot take part: nothing changes anywhere.
	FleetRefused FleetPhase = "refused"
	// FleetApplied is a proxy that has stored the change and goes by it.
	FleetApplied FleetPhase = "applied"
	// FleetFailed is a proxy that could not apply what was decided, and tries again.
	FleetFailed FleetPhase = "failed"
	// FleetDrained is a proxy that holds nothing of what served before.
	FleetDrained FleetPhase = "drained"
	// FleetMissing is a proxy that has not been heard of: it may still serve what it did.
	FleetMissing FleetPhase = "missing"
)

// FleetStep is how far one proxy of a fleet has come with a change.
type FleetStep struct {
	// Proxy is its name in the fleet.
	Proxy string     `json:"proxy"`
	Phase FleetPhase `json:"phase"`
	// Reason says why it has refused, failed, or is missing.
	Reason string `json:"reason,omitempty"`
	// Drain is how what served before has drained there; absent before.
	Drain *Drain `json:"drain,omitempty"`
}

// FleetState says whether a proxy of a fleet takes part.
type FleetState string

const (
	// FleetJoining is a proxy that has not caught up with what was decided.
	FleetJoining FleetState = "joining"
	// FleetLive is a proxy that takes part.
	FleetLive FleetState = "live"
	// FleetGone is a proxy that is not heard of, and has not said goodbye.
	FleetGone FleetState = "missing"
)

// FleetMember is a proxy of a fleet.
type FleetMember struct {
	// Name is what the proxy is called in the fleet.
	Name    string     `json:"name"`
	State   FleetState `json:"state"`
	Version string     `json:"version"`
	// Unheard is since when it has not been heard of by the proxy that was asked; absent for one
	// that takes part.
	Unheard Seconds `json:"unheard_seconds,omitempty"`
}

// FleetShare says how many proxies of a fleet serve a service as it was decided last: its releases, the share of a
// canary, and whether it is held.
type FleetShare struct {
	// Serving is how many of them have said that they do, Of how many have not left.
	Serving int `json:"serving"`
	Of      int `json:"of"`
	// Lacking names those that have not said so, or are not heard of.
	Lacking []string `json:"lacking,omitempty"`
}

// String writes it for people.
func (s FleetShare) String() string { return fmt.Sprintf("%d of %d proxies", s.Serving, s.Of) }

// FleetStatus is a fleet as one proxy of it sees it.
type FleetStatus struct {
	// Name is the name of the proxy that was asked.
	Name string `json:"name"`
	// Ready says that it has caught up with all that was decided, and goes on to.
	Ready bool `json:"ready"`
	// Problem says why it is not ready, or does not reach the store of the fleet.
	Problem string `json:"problem,omitempty"`
	// Imports are services that this proxy has had before it was part of the fleet, and serves alone: the fleet does not have
	// them yet.
	Imports []FleetImport `json:"imports,omitempty"`
	// Members are all proxies that have not left, by name.
	Members []FleetMember `json:"members"`
	// Restored are the services that the store of the fleet was given by the call that is answered.
	Restored []string `json:"restored,omitempty"`
}

// FleetImport is a service that a proxy brings into its fleet.
type FleetImport struct {
	Service string `json:"service"`
	// Reason says why the fleet has not taken it; empty as long as it was not asked.
	Reason string `json:"reason,omitempty"`
}

// Live counts the proxies that take part.
func (s FleetStatus) Live() (n int) {
	for _, m := range s.Members {
		if m.State == FleetLive {
			n++
		}
	}
	return n
}
