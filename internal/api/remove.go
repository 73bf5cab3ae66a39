package api

// RemoveRequest asks to remove a service.
type RemoveRequest struct {
	// DrainTimeout and StreamTimeout are those of [DeployRequest]. Default: what the service
	// was deployed with.
	DrainTimeout  *Duration `json:"drain_timeout,omitempty"`
	StreamTimeout *Duration `json:"stream_timeout,omitempty"`
	// FailOnCut has the removal end with [CodeDrainTimeout] if requests or streams had to be
	// cut. The service is gone all the same. Default: false.
	FailOnCut bool `json:"fail_on_cut,omitempty"`
	// IfMatch is the generation that the service has to be in; see [HoldRequest.IfMatch].
	IfMatch string `json:"-"`
}

// Removal tells what became of a service that was removed.
type Removal struct {
	Service string `json:"service"`
	// Drained tells of the release that served; it is absent if none did.
	Drained *Drain `json:"drained,omitempty"`
	// Cut is what had to be cut; absent if nothing had to be.
	Cut *Cut `json:"cut,omitempty"`
}

// Validate returns an [Error] with [CodeInvalid] if a value is out of its bounds.
func (r RemoveRequest) Validate() error {
	return DeployRequest{DrainTimeout: r.DrainTimeout, StreamTimeout: r.StreamTimeout}.resolveSettings(new(Spec))
}

// Limits returns the limits of the drain of a service that was deployed with o.
func (r RemoveRequest) Limits(o Options) DrainLimits {
	if r.DrainTimeout != nil {
		o.DrainTimeout = *r.DrainTimeout
	}
	if r.StreamTimeout != nil {
		o.StreamTimeout = *r.StreamTimeout
	}
	return o.Drain()
}
