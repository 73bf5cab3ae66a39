package proxy

import (
	"fmt"
	"time"
)

// ServiceStatus is a service as it is seen from outside.
type ServiceStatus struct {
	Name string `json:"name"`
	// Hosts and PathPrefixes are the routes of the active release. No host
	// means every host that no other service claims.
	Hosts        []string `json:"hosts"`
	PathPrefixes []string `json:"path_prefixes"`
	// Served counts the requests of all releases since the proxy started.
	Served int64 `json:"served"`
	// TLS says whether the service was deployed with HTTPS.
	TLS bool `json:"tls"`
	// Certificates are those of the hosts, by host.
	Certificates []Certificate `json:"certificates,omitempty"`
	// Broken says why the service's state could not be loaded; such a service
	// does not serve until it is deployed again.
	Broken string `json:"broken,omitempty"`
	// Active is the release that serves; absent if none does.
	Active *ReleaseStatus `json:"active,omitempty"`
	// Draining are older releases that still have traffic.
	Draining []ReleaseStatus `json:"draining,omitempty"`
	// Deployments are those that are under way.
	Deployments []DeploymentStatus `json:"deployments,omitempty"`
	// FailedDeployment is the last that has ended, if it failed and is among those that
	// are remembered. Only [Engine.Service] tells of it.
	FailedDeployment *DeploymentStatus `json:"failed_deployment,omitempty"`
}

// ReleaseStatus is a release as it is seen from outside.
type ReleaseStatus struct {
	Release    int            `json:"release"`
	DeployedAt time.Time      `json:"deployed_at"`
	Targets    []TargetStatus `json:"targets"`
	// Requests and Streams are what is in flight.
	Requests int `json:"requests"`
	Streams  int `json:"streams"`
	// Served counts the release's requests since the proxy started.
	Served  int64   `json:"served"`
	Options Options `json:"options"`
}

// TargetStatus is a target as it is seen from outside.
type TargetStatus struct {
	Address string `json:"address"`
	Health  Health `json:"health"`
	// Reason says why the target is failing, or what its last probe met.
	Reason string `json:"reason,omitempty"`
	// Since is when the health last changed; absent before the first probe.
	Since *time.Time `json:"since,omitempty"`
	// Requests is what is in flight to this target, streams included.
	Requests int `json:"requests"`
	// Connections is the number of connections to this target that are open,
	// IdleConnections that of those which wait for a request. The latter is not
	// known of https and h2c targets.
	Connections     int `json:"connections"`
	IdleConnections int `json:"idle_connections"`
}

// Services returns all services, by name.
func (e *Engine) Services() []ServiceStatus {
	e.mu.Lock()
	all := make([]ServiceStatus, 0, len(e.services))
	active := make([]*Release, 0, len(e.services))
	for _, name := range e.sortedNames() {
		s := e.services[name]
		all, active = append(all, s.statusOf()), append(active, s.release())
	}
	e.mu.Unlock()
	for i, r := range active {
		all[i].Certificates = e.certificatesOf(r)
	}
	return all
}

// Service returns one service, or an [Error] with [CodeNotFound].
func (e *Engine) Service(name string) (ServiceStatus, error) {
	e.mu.Lock()
	s := e.services[name]
	failed := e.deployments.failed(name)
	if s == nil {
		defer e.mu.Unlock()
		err := e.noSuchService(name)
		if failed != nil {
			err.Message += fmt.Sprintf("; its last deployment, %s, failed: %s", failed.ID, failed.Error.Message)
			err.Details = failed.Error.Details
		}
		return ServiceStatus{}, err
	}
	status, active := s.statusOf(), s.release()
	status.FailedDeployment = failed
	e.mu.Unlock()
	status.Certificates = e.certificatesOf(active)
	return status, nil
}

// statusOf describes s, without its certificates. Engine.mu must be held.
func (s *service) statusOf() ServiceStatus {
	status := ServiceStatus{Name: s.name, Hosts: []string{}, PathPrefixes: []string{}}
	if s.broken != nil {
		status.Broken = Printable(s.broken.Error())
	}
	if s.active != nil {
		r := s.active.active.Load()
		active := r.statusOf()
		status.Active = &active
		status.Hosts = append(status.Hosts, r.hosts...)
		status.PathPrefixes = r.options.PathPrefixes
		status.TLS = r.options.TLS != nil
	}
	status.Served = s.retired
	if status.Active != nil {
		status.Served += status.Active.Served
	}
	for _, r := range s.draining {
		status.Served += r.served.Load()
		status.Draining = append(status.Draining, r.statusOf())
	}
	for _, d := range s.deployments {
		status.Deployments = append(status.Deployments, d.Status())
	}
	return status
}

func (r *Release) statusOf() ReleaseStatus {
	status := ReleaseStatus{
		Release: r.version, DeployedAt: r.deployedAt,
		Requests: r.inFlight(), Streams: r.streamCount(), Served: r.served.Load(),
		Options: r.options,
	}
	for _, u := range r.upstreams {
		h := u.currentHealth()
		conns := u.transport.Stats()
		t := TargetStatus{
			Address: u.target.String(), Health: h.state, Reason: h.reason,
			Requests: int(u.inFlight.Load()), Connections: conns.Open, IdleConnections: conns.Idle,
		}
		if !h.since.IsZero() {
			at := h.since.UTC()
			t.Since = &at
		}
		status.Targets = append(status.Targets, t)
	}
	return status
}

// DeploymentCounts returns how many deployments have ended in each final state
// since the engine was made.
func (e *Engine) DeploymentCounts() map[State]int64 {
	return map[State]int64{
		StateDone:       e.outcomes.done.Load(),
		StateFailed:     e.outcomes.failed.Load(),
		StateSuperseded: e.outcomes.superseded.Load(),
		StateCancelled:  e.outcomes.cancelled.Load(),
	}
}
