package handlers

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Adapted are handlers as Caddy's JSON has them. They are stored with the release, so that a
// start does not depend on what a later Caddy makes of the directives.
type Adapted struct {
	// Caddy is the version that has adapted them.
	Caddy string `json:"caddy"`
	// Directives says that some of it is of directives, and not of settings alone.
	Directives bool `json:"directives,omitempty"`
	// Routes are what requests pass.
	Routes json.RawMessage `json:"routes,omitempty"`
	// Errors are what handles errors of those and of the proxy.
	Errors json.RawMessage `json:"errors,omitempty"`
}

// decode returns handlers that were stored. What it does not understand, or what says nothing, is
// an error: requests would pass no handlers, of which one may have asked for a password.
func decode(stored json.RawMessage) (*Adapted, error) {
	a := new(Adapted)
	if err := caddy.StrictUnmarshalJSON(stored, a); err != nil {
		return nil, fmt.Errorf("decoding the stored handlers: %w", err)
	}
	if saysNothing(a.Routes) && saysNothing(a.Errors) {
		return nil, errors.New("the stored handlers say nothing")
	}
	return a, nil
}

// saysNothing reports whether there are no routes in a list of them.
func saysNothing(list json.RawMessage) bool {
	text := strings.Join(strings.Fields(string(list)), "")
	return text == "" || text == "null" || text == "[]"
}

// Adapt implements [proxy.Handlers].
func (h *Host) Adapt(service string, o *api.Options) (json.RawMessage, error) {
	if !o.HasHandlers() {
		return nil, nil
	}
	s, err := ofSettings(o)
	if err != nil {
		return nil, err
	}
	if o.With != "" {
		if h.allow == None {
			return nil, api.Invalid("%v, and %s are some", errNoDirectives, api.Field("with")).
				WithHint("who runs it can allow them with --allow-handlers")
		}
		written, err := parseSnippet(o.With)
		if err != nil {
			return nil, inSnippet(err)
		}
		s.append(written)
	}
	a, err := h.adaptAndTry(service, s)
	if err != nil {
		return nil, h.explain(service, s, err)
	}
	a.Directives = o.With != ""
	return json.Marshal(a)
}

// explain returns the error of a deploy whose directives are wrong, as err says. Caddy's words
// have no line of ours, or the wrong one: which directive is it? It is the last of the shortest
// beginning that is wrong, which is looked for by halves: there may be many.
func (h *Host) explain(service string, s *snippet, err error) error {
	all := s.all()
	shortest := 1 + sort.Search(len(all)-1, func(i int) bool {
		_, problem := h.adaptAndTry(service, s.part(0, i+1))
		if problem != nil {
			err = problem
		}
		return problem != nil
	})
	if _, alone := h.adaptAndTry(service, s.part(shortest-1, shortest)); alone != nil {
		err = alone
	}
	segment := all[shortest-1]
	if field := segment[0].File; field != fileName {
		return api.Invalid("%s: %s", api.Field(field), api.PrintableUpTo(short(err.Error()), 1000))
	}
	refusal := inSnippet(locate(segment, err))
	if strings.HasSuffix(refusal.Message, "unrecognized directive: rate_limit") {
		refusal.Message += ", which " + needsPlugin
		return refusal.WithHint(buildWithIt)
	}
	return refusal
}

var errNoDirectives = errors.New("this proxy allows no directives for single services")

// inSnippet returns the error of a deploy whose directives are wrong.
func inSnippet(err error) *api.Error {
	return api.Invalid("%s, %s", api.Field("with"), api.PrintableUpTo(err.Error(), 1000))
}

// adaptAndTry adapts directives, makes the handlers, and gives them up again.
func (h *Host) adaptAndTry(service string, s *snippet) (*Adapted, error) {
	a, err := h.adapt(service, s)
	if err != nil {
		return nil, err
	}
	c, err := h.compile(service, a)
	if err != nil {
		return nil, err
	}
	c.Close()
	return a, nil
}

// adapt has Caddy make JSON of directives, and refuses what is no handler or not allowed.
func (h *Host) adapt(service string, s *snippet) (_ *Adapted, err error) {
	defer func() {
		if problem := recover(); problem != nil {
			err = panicked(problem)
		}
	}()
	config, _, err := httpcaddyfile.ServerType{}.Setup([]caddyfile.ServerBlock{s.block()}, nil)
	if err != nil {
		return nil, err
	}
	if config.Admin != nil || config.Logging != nil || config.StorageRaw != nil || len(config.AppsRaw) != 1 || config.AppsRaw["http"] == nil {
		return nil, errors.New("only handlers are for services")
	}
	var app map[string]json.RawMessage
	if err := json.Unmarshal(config.AppsRaw["http"], &app); err != nil {
		return nil, err
	}
	var servers map[string]map[string]json.RawMessage
	if err := json.Unmarshal(app["servers"], &servers); err != nil {
		return nil, err
	}
	if len(app) != 1 || len(servers) != 1 {
		return nil, errors.New("only handlers are for services")
	}
	a := &Adapted{Caddy: caddyVersion()}
	for _, server := range servers {
		if listen := string(server["listen"]); listen != `[":1"]` {
			return nil, fmt.Errorf("a service does not listen by itself: %s", listen)
		}
		a.Routes = server["routes"]
		var failures struct {
			Routes json.RawMessage `json:"routes"`
		}
		if server["errors"] != nil {
			if err := json.Unmarshal(server["errors"], &failures); err != nil {
				return nil, err
			}
			a.Errors = failures.Routes
		}
		for _, name := range []string{"listen", "routes", "errors"} {
			delete(server, name)
		}
		if len(server) > 0 {
			return nil, fmt.Errorf("only handlers are for services, not %s", strings.Join(slices.Sorted(maps.Keys(server)), ", "))
		}
	}
	if err := errors.Join(a.nameZones(service), a.ownTransports()); err != nil {
		return nil, err
	}
	return a, h.check(a)
}
