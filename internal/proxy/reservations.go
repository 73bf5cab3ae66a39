package proxy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/parachute-proxy/parachute/internal/api"
)

// owner holds a route, for as many reasons as count says.
type owner struct {
	service string
	count   int
}

// reserve takes routes for a service. It fails if another one has any of them.
// Engine.mu must be held.
func (e *Engine) reserve(name string, routes []api.Route) error {
	for _, r := range routes {
		if o := e.owners[r]; o != nil && o.service != name {
			return e.conflict(name, routes, r)
		}
	}
	for _, r := range routes {
		if e.owners[r] == nil {
			e.owners[r] = &owner{service: name}
		}
		e.owners[r].count++
	}
	return nil
}

// conflict says that one of the routes that the named service is to have is another's,
// and how to deploy to that one. Engine.mu must be held.
func (e *Engine) conflict(name string, routes []api.Route, taken api.Route) *api.Error {
	owner := e.owners[taken].service
	use := e.settingsOf(owner, taken)
	if name != cmp.Or(routes[0].Host, api.DefaultServiceName(nil)) {
		use = api.Advise("%s instead of %s", use, api.Field("service").Is(api.ShellWord(name)))
	}
	err := &api.Error{
		Code:    api.CodeRouteConflict,
		Message: fmt.Sprintf("%s belongs to the service %s", describeRoute(taken), owner),
	}
	return err.WithHint("to deploy a new release of it, use %s; to free the route, %s", use, api.Operation("remove "+api.ShellWord(owner)))
}

// maxHintHosts bounds the hosts that a hint names.
const maxHintHosts = 10

// settingsOf returns the settings with which the service that has r is deployed without
// losing a route: it keeps none that a deploy leaves out. Engine.mu must be held.
func (e *Engine) settingsOf(name string, r api.Route) api.Advice {
	use := api.Advise("%s", api.Field("service").Is(api.ShellWord(name)))
	var hosts, prefixes []string
	if s := e.services[name]; s != nil {
		hosts, prefixes = s.claiming(r)
	}
	switch {
	case len(hosts) > maxHintHosts:
		use = api.Advise("%s and %s with all of its %d hosts", use, api.Field("hosts"), len(hosts))
	case len(hosts) > 0:
		use = api.Advise("%s %s", use, api.Field("hosts").Is(api.ShellWord(strings.Join(hosts, ","))))
	}
	if len(prefixes) > 0 && !slices.Equal(prefixes, []string{"/"}) {
		use = api.Advise("%s %s", use, api.Field("path_prefixes").Is(api.ShellWord(strings.Join(prefixes, ","))))
	}
	return use
}

// claiming returns the hosts and path prefixes of the release of s that has r, or of the
// deployment that wants it.
func (s *service) claiming(r api.Route) (hosts, prefixes []string) {
	if active := s.release(); active != nil && slices.Contains(active.Spec.Routes, r) {
		return active.Spec.Hosts, active.Spec.Options.PathPrefixes
	}
	for _, d := range s.deployments {
		if slices.Contains(d.spec.Routes, r) {
			return d.spec.Hosts, d.spec.Options.PathPrefixes
		}
	}
	return nil, nil
}

// free gives back routes that reserve took. Engine.mu must be held.
func (e *Engine) free(routes []api.Route) {
	for _, r := range routes {
		if o := e.owners[r]; o != nil {
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
