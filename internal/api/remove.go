package api

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

// Resolve returns the limits that the request asks for, or an [Error] with [CodeInvalid].
func (r RemoveRequest) Resolve() (DrainLimits, error) {
	s := Spec{}
	err := DeployRequest{DrainTimeout: r.DrainTimeout, StreamTimeout: r.StreamTimeout}.resolveSettings(&s)
	return s.Drain, err
}
