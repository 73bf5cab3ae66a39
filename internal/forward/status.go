package forward

import "github.com/parachute-proxy/parachute/internal/api"

// Status describes r and its targets.
func (r *Release) Status() api.ReleaseStatus {
	status := api.ReleaseStatus{
		Release: r.Version, DeployedAt: r.DeployedAt,
		Requests: r.InFlight(), Streams: r.Streams(), Served: r.Served.Load(),
		Options: r.Spec.Options,
	}
	for i, u := range r.upstreams {
		h := u.currentHealth().shown()
		conns := u.transport.Stats()
		t := api.TargetStatus{
			Address: u.target.String(), Health: h.state, Reason: h.reason,
			ReadsOnly: i >= len(r.Spec.Targets),
			Requests:  int(u.inFlight.Load()), Connections: conns.Open, IdleConnections: conns.Idle,
		}
		if !h.since.IsZero() {
			at := h.since.UTC()
			t.Since = &at
		}
		status.Targets = append(status.Targets, t)
	}
	return status
}
