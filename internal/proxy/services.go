package proxy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/forward"
)

// service returns the record of a service, a new one if there is none.
// Engine.mu must be held.
func (e *Engine) service(name string) *service {
	s := e.services[name]
	if s == nil {
		s = &service{name: name, committing: make(chan struct{}, 1), traffic: new(forward.Traffic)}
		e.services[name] = s
	}
	return s
}

// forgetIfUnused removes the record of a service that never came to be.
// Engine.mu must be held.
func (e *Engine) forgetIfUnused(s *service) {
	if s.active == nil && s.broken == nil && len(s.deployments) == 0 && len(s.draining) == 0 && s.operations == 0 && e.services[s.name] == s {
		delete(e.services, s.name)
	}
}

// serving returns the release that serves a service, or an [api.Error] with
// [api.CodeNotFound].
func (e *Engine) serving(name string) (*release, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	svc := e.services[name]
	if svc == nil {
		return nil, e.noSuchService(name)
	}
	if r := svc.release(); r != nil {
		return r, nil
	}
	return nil, &api.Error{Code: api.CodeNotFound, Message: "the service " + name + " serves nothing yet"}
}

// candidateOf returns the release that a share of the clients of a service has; nil if there is
// none.
func (e *Engine) candidateOf(name string) *release {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l := e.services[name].lineup(); l != nil {
		return l.candidateRelease()
	}
	return nil
}

// noSuchService says that there is no such service, and which there are.
// Engine.mu must be held.
func (e *Engine) noSuchService(name string) *api.Error {
	err := &api.Error{Code: api.CodeNotFound, Message: fmt.Sprintf("there is no service %s", api.Printable(name))}
	switch names := e.sortedNames(); {
	case len(names) == 0:
		err.Hint = "nothing is deployed yet"
	case len(names) <= 10:
		err.Hint = "deployed are: " + strings.Join(names, ", ")
	default:
		err.Hint = fmt.Sprintf("%d others are deployed; see %s", len(names), api.Operation("list"))
	}
	return err
}

// sortedNames returns the names of all services. Engine.mu must be held.
func (e *Engine) sortedNames() []string {
	return slices.SortedFunc(maps.Keys(e.services), strings.Compare)
}

// generationOf names the state of s: it is another one once anything about s has changed.
// Engine.mu must be held.
func (e *Engine) generationOf(s *service) string {
	return fmt.Sprintf("%s-%d", e.feed.instance, s.generation)
}

// isHeld reports whether a service is paused or stopped.
func (e *Engine) isHeld(svc *service) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return svc.hold() != nil
}
