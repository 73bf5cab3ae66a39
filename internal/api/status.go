package api

import (
	"time"
)

// Health says what the last probes of a target told.
type Health string

const (
	// HealthUnverified is a target that no probe has answered for yet, as after
	// a restart. It takes traffic: it did when the proxy stopped.
	HealthUnverified Health = "unverified"
	// HealthHealthy is a target whose last probe succeeded.
	HealthHealthy Health = "healthy"
	// HealthFailing is a target that does not pass its health check, which takes traffic
	// only when no other target is left; or one that has not answered several requests in
	// a row in time, which still takes traffic.
	HealthFailing Health = "failing"
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
	// TLSFrom are the services that the service takes its settings for HTTPS from, in place of
	// its own: those that have the roots of its hosts. Absent if it takes none.
	TLSFrom []TLSSource `json:"tls_from,omitempty"`
	// Certificates are those of the hosts, by host.
	Certificates []Certificate `json:"certificates,omitempty"`
	// Broken says why the service's state could not be loaded, or its handlers not be made;
	// such a service does not serve until it is deployed again.
	Broken string `json:"broken,omitempty"`
	// Hold says that the service is paused or stopped; absent if it serves.
	Hold *HoldStatus `json:"hold,omitempty"`
	// Active is the release that serves; absent if none does.
	Active *ReleaseStatus `json:"active,omitempty"`
	// Candidate is a release that gets a share of the clients; absent without a canary.
	Candidate *ReleaseStatus `json:"candidate,omitempty"`
	// Standby is a release that gets no new requests and is ready to serve again: its targets
	// must not be removed. Absent if there is none.
	Standby *ReleaseStatus `json:"standby,omitempty"`
	// Rollout is the canary or the watch that is under way; absent without one.
	Rollout *RolloutStatus `json:"rollout,omitempty"`
	// Generation changes with everything that is changed of the service. A call with it as
	// If-Match (RFC 9110, section 13.1.1) is refused if the service has changed since.
	Generation string `json:"generation,omitempty"`
	// Proxies says how many proxies of a fleet serve the service as it was decided last; absent without a fleet.
	Proxies *FleetShare `json:"proxies,omitempty"`
	// Draining are older releases that still have traffic.
	Draining []ReleaseStatus `json:"draining,omitempty"`
	// Deployments are those that are under way.
	Deployments []DeploymentStatus `json:"deployments,omitempty"`
	// FailedDeployment is the last that has ended, if it failed and is among those that
	// are remembered. Only a call for one service tells of it.
	FailedDeployment *DeploymentStatus `json:"failed_deployment,omitempty"`
}

// TLSSource says from whom a service that has a path of a host takes the settings for HTTPS.
type TLSSource struct {
	// Host is the host; empty for every host that nobody else claims.
	Host string `json:"host"`
	// Service is the service that has the root of the host.
	Service string `json:"service"`
	// Redirect says that plain HTTP is redirected to HTTPS.
	Redirect bool `json:"redirect"`
}

// Releases returns all releases of the service: those in service, and those that drain.
func (s *ServiceStatus) Releases() (all []ReleaseStatus) {
	for _, r := range []*ReleaseStatus{s.Active, s.Candidate, s.Standby} {
		if r != nil {
			all = append(all, *r)
		}
	}
	return append(all, s.Draining...)
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
	// OptionSeconds are the options that are a [Duration], as numbers of seconds.
	OptionSeconds OptionSeconds `json:"option_seconds"`
	// From is the release that it is the targets and settings of, if it was rolled back to.
	From int  `json:"from,omitempty"`
	Note Note `json:"note,omitzero"`
}

// TargetStatus is a target as it is seen from outside.
type TargetStatus struct {
	Address string `json:"address"`
	Health  Health `json:"health"`
	// ReadsOnly says that it is one of [DeployRequest.ReadTargets].
	ReadsOnly bool `json:"reads_only,omitempty"`
	// Reason says why the target is failing, or what its last probe met.
	Reason string `json:"reason,omitempty"`
	// Since is when the health last changed; absent before the first probe.
	Since *time.Time `json:"since,omitempty"`
	// Requests is what is in flight to this target, streams included. As its connections, it
	// may be from several releases of which the target is one.
	Requests int `json:"requests"`
	// Connections is the number of connections to this target that are open,
	// IdleConnections that of those which wait for a request. The latter is not
	// known of https and h2c targets.
	Connections     int `json:"connections"`
	IdleConnections int `json:"idle_connections"`
}

// ServiceList is the answer to a call that lists all services, by name.
type ServiceList struct {
	Services []ServiceStatus `json:"services"`
}
