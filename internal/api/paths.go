package api

import "net/url"

// Media types of the API: one JSON value, a JSON value on each line, and server-sent
// events (WHATWG HTML, section 9.2).
const (
	MediaJSON   = "application/json"
	MediaNDJSON = "application/x-ndjson"
	MediaSSE    = "text/event-stream"
)

// Paths of the calls, on Caddy's admin endpoint.
const (
	// PathServices lists the services.
	PathServices = "/parachute/services"
	// PathDeployments is the folder of the deployments, and where one is asked for.
	PathDeployments = "/parachute/deployments"
	// PathEvents is the feed of everything that happens to services.
	PathEvents = "/parachute/events"
	// PathProcesses lists the processes of the proxy.
	PathProcesses = "/parachute/processes"
	// PathUpgrade has another process take over.
	PathUpgrade = "/parachute/upgrade"
	// PathFleet tells of the fleet that the proxy is part of, and is where a member of it is.
	PathFleet = "/parachute/fleet"
	// PathFleetRestore gives the store of the fleet what the proxy serves and it does not have.
	PathFleetRestore = PathFleet + "/restore"
	// PathVersion tells the versions of the proxy and of the Caddy in it.
	PathVersion = "/parachute/version"
)

// ServicePath is the path of a service.
func ServicePath(service string) string { return PathServices + "/" + url.PathEscape(service) }

// DeployPath is where a deployment of a service with that name is asked for, as
// [PathDeployments] is, where the request or its hosts name the service.
func DeployPath(service string) string { return ServicePath(service) + "/deployments" }

// ReleasesPath is where the releases of a service are listed that serve or have served.
func ReleasesPath(service string) string { return ServicePath(service) + "/releases" }

// RollbackPath is where a release that has served is asked for.
func RollbackPath(service string) string { return ServicePath(service) + "/rollback" }

// RolloutPath is where a rollout that is under way is changed, PreviewPath where a link is
// asked for that opens what not everybody gets.
func RolloutPath(service string) string { return ServicePath(service) + "/rollout" }
func PreviewPath(service string) string { return ServicePath(service) + "/preview" }

// PausePath, StopPath and ResumePath are where that is asked for.
func PausePath(service string) string  { return ServicePath(service) + "/pause" }
func StopPath(service string) string   { return ServicePath(service) + "/stop" }
func ResumePath(service string) string { return ServicePath(service) + "/resume" }

// FleetMemberPath is the path of a proxy of the fleet.
func FleetMemberPath(name string) string { return PathFleet + "/members/" + url.PathEscape(name) }

// DeploymentPath is the path of a deployment.
func DeploymentPath(id string) string { return PathDeployments + "/" + url.PathEscape(id) }
