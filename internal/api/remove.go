package api

import (
	"time"
)

// RemoveRequest asks to remove a service.
type RemoveRequest struct {
	// DrainTimeout and StreamTimeout are those of [DeployRequest].
	DrainTimeout  *Duration `json:"drain_timeout,omitempty"`
	StreamTimeout *Duration `json:"stream_timeout,omitempty"`
}

// Removal tells what became of a service that was removed.
type Removal struct {
	Service string `json:"service"`
	// Drained tells of the release that served; it is absent if none did.
	Drained *Drain `json:"drained,omitempty"`
}

func (r RemoveRequest) Resolve() (DrainLimits, error) {
	requests, err := boundedDuration("drain timeout", r.DrainTimeout, DefaultDrainTimeout, 0)
	if err != nil {
		return DrainLimits{}, err
	}
	streams, err := boundedDuration("stream timeout", r.StreamTimeout, DefaultStreamTimeout, 0)
	if err != nil {
		return DrainLimits{}, err
	}
	return DrainLimits{Requests: time.Duration(requests), Streams: time.Duration(streams)}, nil
}
