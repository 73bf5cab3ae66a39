package api

import (
	"slices"
	"strings"
)

// TakenOver tells of routes that a deploy has taken from another service.
type TakenOver struct {
	// Service is the service that had them, at Release.
	Service string `json:"service"`
	Release int    `json:"release"`
	// Routes are what was taken.
	Routes []Route `json:"routes"`
	// Gone says that the service has no route left. It has drained when the deploy ends.
	Gone bool `json:"gone,omitempty"`
}

// String says what was taken, and what has become of the service that had it.
func (t TakenOver) String() string {
	var routes []string
	for _, r := range t.Routes {
		routes = append(routes, r.String())
	}
	text := strings.Join(routes, ", ") + " from " + t.Service
	if t.Gone {
		text += ", which has no route left and is gone"
	}
	return text
}

// Without returns s without some of its routes, or nil if none is left. It returns an
// [Error] with [CodeRouteConflict] if what is left is nothing that a deploy could ask for.
func (s *Spec) Without(routes []Route) (*Spec, error) {
	left := slices.DeleteFunc(slices.Clone(s.Routes), func(r Route) bool { return slices.Contains(routes, r) })
	if len(left) == 0 {
		return nil, nil
	}
	req := s.Request()
	has := func(of func(Route) bool) bool { return slices.ContainsFunc(left, of) }
	req.Hosts = slices.DeleteFunc(slices.Clone(s.Hosts), func(host string) bool { return !has(func(r Route) bool { return r.Host == host }) })
	req.PathPrefixes = slices.DeleteFunc(slices.Clone(s.Options.PathPrefixes), func(prefix string) bool {
		return !has(func(r Route) bool { return r.Prefix == prefix })
	})
	if len(req.Hosts) > 0 && !slices.Contains(req.Hosts, req.CanonicalHost) { // a service for any host may have any
		req.CanonicalHost = ""
	}
	next, err := req.Resolve()
	if err == nil && len(next.Routes) != len(left) {
		err = Invalid("it would keep some paths on some hosts only, and a service has every path on every host")
	}
	if err != nil {
		failed := &Error{Code: CodeRouteConflict, Message: "the service " + s.Service + " cannot keep the rest of its routes: " + err.Error()}
		return nil, failed.WithHint("take over whole hosts, or first deploy %s with the %s and %s that it is to keep",
			ShellWord(s.Service), Field("hosts"), Field("path_prefixes"))
	}
	next.TargetCA, next.ErrorPages, next.Handlers, next.Note = s.TargetCA, s.ErrorPages, s.Handlers, s.Note
	return &next, nil
}
