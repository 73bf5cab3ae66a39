package proxy

import (
	"fmt"
	"slices"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
)

// Services returns all services, by name.
func (e *Engine) Services() []api.ServiceStatus {
	e.mu.Lock()
	all := make([]api.ServiceStatus, 0, len(e.services))
	active := make([]*release, 0, len(e.services))
	for _, name := range e.sortedNames() {
		s := e.services[name]
		all, active = append(all, e.statusOf(s)), append(active, s.release())
	}
	e.mu.Unlock()
	for i, r := range active {
		all[i].Certificates = e.certificatesOf(r)
	}
	return all
}

// InFlight counts the requests and streams of all services.
func (e *Engine) InFlight() (requests, streams int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.services {
		for _, r := range slices.Concat(s.lineup().releases(), s.draining) {
			requests += r.InFlight()
			streams += r.Streams()
		}
	}
	return requests, streams
}

// Service returns one service, or an [api.Error] with [api.CodeNotFound].
func (e *Engine) Service(name string) (api.ServiceStatus, error) {
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
		return api.ServiceStatus{}, err
	}
	status, active := e.statusOf(s), s.release()
	status.FailedDeployment = failed
	e.mu.Unlock()
	status.Certificates = e.certificatesOf(active)
	return status, nil
}

// statusOf describes s, without its certificates. Engine.mu must be held.
func (e *Engine) statusOf(s *service) api.ServiceStatus {
	status := api.ServiceStatus{Name: s.name, Hosts: []string{}, PathPrefixes: []string{}, Generation: e.generationOf(s)}
	if s.broken != nil {
		status.Broken = api.Printable(s.broken.Error())
	}
	if l := s.lineup(); l != nil {
		r := l.active
		for _, r := range l.releases() {
			if err := r.handlers.problem(); err != nil && status.Broken == "" {
				status.Broken = api.PrintableUpTo(fmt.Sprintf("v%d refuses requests: %v", r.Version, err), 1000)
			}
		}
		active := r.Status()
		status.Active = &active
		if l.candidate != nil {
			candidate := l.candidate.Status()
			status.Candidate = &candidate
		}
		if l.standby != nil {
			standby := l.standby.Status()
			status.Standby = &standby
		}
		status.Rollout = l.rolloutStatus()
		status.Hosts = append(status.Hosts, r.Spec.Hosts...)
		status.PathPrefixes = r.Spec.Options.PathPrefixes
		status.TLS = r.Spec.Options.TLS != nil
		status.TLSFrom = e.table.Load().tlsSources(r)
		status.Hold = l.hold.status()
	}
	status.Served = s.retired
	if status.Active != nil {
		status.Served += status.Active.Served
	}
	for _, r := range []*api.ReleaseStatus{status.Candidate, status.Standby} {
		if r != nil {
			status.Served += r.Served
		}
	}
	for _, r := range s.draining {
		status.Served += r.Served.Load()
		status.Draining = append(status.Draining, r.Status())
	}
	for _, d := range s.deployments {
		status.Deployments = append(status.Deployments, d.Status())
	}
	return status
}

// DeploymentCounts returns how many deployments have ended in each final state
// since the engine was made.
func (e *Engine) DeploymentCounts() map[api.State]int64 {
	return map[api.State]int64{
		api.StateDone:       e.outcomes.done.Load(),
		api.StateFailed:     e.outcomes.failed.Load(),
		api.StateSuperseded: e.outcomes.superseded.Load(),
		api.StateCancelled:  e.outcomes.cancelled.Load(),
		api.StateReverted:   e.outcomes.reverted.Load(),
		api.StateUndecided:  e.outcomes.undecided.Load(),
	}
}

// Deployment returns a deployment that is running or has ended lately, or an
// [api.Error] with [api.CodeNotFound].
func (e *Engine) Deployment(id string) (*Deployment, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if d := e.deployments.byID[id]; d != nil {
		return d, nil
	}
	return nil, &api.Error{Code: api.CodeNotFound, Message: "there is no deployment " + api.Printable(id) + ", or it is too old to be remembered"}
}

// Traffic returns what each service has carried, by name. The service that has been removed
// has nothing, and starts again when it is deployed again.
func (e *Engine) Traffic() map[string]*forward.Traffic {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make(map[string]*forward.Traffic, len(e.services))
	for name, s := range e.services {
		all[name] = s.traffic
	}
	return all
}
