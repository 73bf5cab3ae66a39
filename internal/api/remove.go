package api

// RemoveRequest asks to remove a service.
type RemoveRequest struct {
	// DrainTimeout and StreamTimeout are those of [DeployRequest].
	DrainTimeout  *Duration `json:"drain_timeout,omitempty"`
	StreamTimeout *Duration `json:"stream_timeout,omitempty"`
	// FailOnCut has the removal end with [CodeDrainTimeout] if requests or streams had to be
	// cut. The service is gone all the same. Default: false.
	FailOnCut bool `json:"fail_on_cut,omitempty"`
}

// Removal tells what became of a service that was removed.
type Removal struct {
	Service string `json:"service"`
	// Drained tells of the release that served; it is absent if none did.
	Drained *Drain `json:"drained,omitempty"`
	// Cut is what had to be cut; absent if nothing had to be.
	Cut *Cut `json:"cut,omitempty"`
}

// Resolve returns the limits that the request asks for, or an [Error] with [CodeInvalid].
func (r RemoveRequest) Resolve() (DrainLimits, error) {
	s := Spec{}
	err := DeployRequest{DrainTimeout: r.DrainTimeout, StreamTimeout: r.StreamTimeout}.resolveSettings(&s)
	return s.Drain, err
}
