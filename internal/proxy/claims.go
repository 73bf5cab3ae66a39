package proxy

import "fmt"

// owner holds a route, for as many reasons as count says.
type owner struct {
	service string
	count   int
}

// reserve takes routes for a service. It fails if another one has any of them.
// Engine.mu must be held.
func (e *Engine) reserve(name string, routes []Route) error {
	for _, r := range routes {
		if o := e.owners[r]; o != nil && o.service != name {
			return &Error{
				Code:    CodeRouteConflict,
				Message: fmt.Sprintf("%s belongs to the service %s", describeRoute(r), o.service),
				Hint: fmt.Sprintf("to deploy a new release of it, add --service %s; to free the route, run: parachute remove %s",
					o.service, o.service),
			}
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

// free gives back routes that reserve took. Engine.mu must be held.
func (e *Engine) free(routes []Route) {
	for _, r := range routes {
		if o := e.owners[r]; o != nil {
			if o.count--; o.count == 0 {
				delete(e.owners, r)
			}
		}
	}
}

func describeRoute(r Route) string {
	host := "every host without a service of its own"
	if r.Host != "" {
		host = "the host " + r.Host
	}
	if r.Prefix == "/" {
		return host
	}
	return "the path " + r.Prefix + " of " + host
}
