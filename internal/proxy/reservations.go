package proxy

import (
	"cmp"
	"fmt"

	"github.com/parachute-proxy/parachute/internal/api"
)

// reserve takes the routes of s for its service. It fails if another one has any of them,
// which s is not to take over: those stay with the other service up to the switch.
// Engine.mu must be held.
func (e *Engine) reserve(s *api.Spec) error {
	if err := e.reservable(s); err != nil {
		return err
	}
	for _, r := range s.Routes {
		e.own(s.Service, r)
	}
	return nil
}

// own counts one more reason for the named service to hold a route, unless another one holds it.
// Engine.mu must be held.
func (e *Engine) own(name string, r api.Route) {
	switch o := e.owners[r]; {
	case o == nil:
		e.owners[r] = &owner{service: name, count: 1}
	case o.service == name:
		o.count++
	}
}

// reserveAll takes the routes of all releases of a line-up for its service, or none of them.
// Engine.mu must be held.
func (e *Engine) reserveAll(l *lineup) error {
	all := l.releases()
	for i, r := range all {
		if err := e.reserve(r.Spec); err != nil {
			for _, done := range all[:i] {
				e.free(done.Spec.Service, done.Spec.Routes)
			}
			return err
		}
	}
	return nil
}

// reservable returns an error if another service has any of the routes of s, which s is not
// to take over. Engine.mu must be held.
func (e *Engine) reservable(s *api.Spec) error {
	if s.TakeOver {
		return nil
	}
	for _, r := range s.Routes {
		if o := e.owners[r]; o != nil && o.service != s.Service {
			return e.conflict(s.Service, s.Routes, r)
		}
	}
	return nil
}

// conflict says that one of the routes that the named service is to have is another's,
// and how to deploy to that one. Engine.mu must be held.
func (e *Engine) conflict(name string, routes []api.Route, taken api.Route) *api.Error {
	owner := e.owners[taken].service
	use := api.Advise("%s", api.Field("service").Is(api.ShellWord(owner)))
	if name != cmp.Or(routes[0].Host, api.DefaultServiceName(nil)) {
		use = api.Advise("%s instead of %s", use, api.Field("service").Is(api.ShellWord(name)))
	}
	err := &api.Error{
		Code:    api.CodeRouteConflict,
		Message: fmt.Sprintf("%s belongs to the service %s", describeRoute(taken), owner),
	}
	move := api.Advise("to move the route here, add %s; to free it, %s", api.Field("take_over"), api.Operation("remove "+api.ShellWord(owner)))
	if e.fleet != nil {
		move = freeFirst(owner)
	}
	return err.WithHint("to deploy a new release of it, use %s, and leave out %s and %s, which it keeps; %s",
		use, api.Field("hosts"), api.Field("path_prefixes"), move)
}

// free gives back routes that a service has reserved. Engine.mu must be held.
func (e *Engine) free(name string, routes []api.Route) {
	for _, r := range routes {
		if o := e.owners[r]; o != nil && o.service == name {
			if o.count--; o.count == 0 {
				delete(e.owners, r)
			}
		}
	}
}

func describeRoute(r api.Route) string {
	host := "every host without a service of its own"
	if r.Host != "" {
		host = "the host " + r.Host
	}
	if r.Prefix == "/" {
		return host
	}
	return "the path " + r.Prefix + " of " + host
}
