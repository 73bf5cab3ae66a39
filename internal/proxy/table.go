package proxy

import (
	"iter"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// claim binds the routes of one service to its line-up. As long as a service keeps
// its routes, a switch stores a new line-up in its claim; when they change, it gets
// a new claim in a new table. Either way the switch is one atomic store.
type claim struct {
	service string
	routes  []api.Route
	// prefixes are those of routes, whatever their hosts.
	prefixes hostRoutes
	lineup   atomic.Pointer[lineup]
}

// newClaim returns a claim of what the active release of l is routed.
func newClaim(l *lineup) *claim {
	r := l.active
	c := &claim{service: r.Spec.Service, routes: r.Spec.Routes}
	c.lineup.Store(l)
	prefixes := make(map[string]*claim, 1)
	for _, route := range r.Spec.Routes {
		prefixes[route.Prefix] = c
	}
	c.prefixes = *newHostRoutes(prefixes)
	return c
}

// release returns the release that serves.
func (c *claim) release() *release { return c.lineup.Load().active }

// table maps (host, path) to a claim. It is immutable: changes are made on a
// copy that replaces it.
type table struct {
	exact map[string]*hostRoutes
	// wildcard is keyed by the domain below the star: "example.com" for
	// "*.example.com".
	wildcard map[string]*hostRoutes
	anyHost  *hostRoutes
	// named finds claims by the names of their services.
	named map[string]*claim
}

// hostRoutes are the path prefixes that are claimed of one host: for most, all paths
// are one service's, and a map would be most of what the host costs.
type hostRoutes struct {
	root     *claim            // who has "/"; nil if nobody has
	prefixes map[string]*claim // who has the others; nil if there are none
	// depth is the number of segments of the longest prefix. It bounds the
	// lookup, whatever the length of the request's path.
	depth int
}

// lookup returns the claim on host and path, and the prefix it matched. An exact
// host beats a wildcard, which beats the catch-all; under one host the longest
// prefix wins. A host that has no prefix for the path leaves it to the next less
// specific one. It does not allocate.
func (t *table) lookup(host, path string) (*claim, string) {
	var buf [256]byte
	name := canonicalHost(buf[:0], host)
	if hr, ok := t.exact[string(name)]; ok {
		if c, prefix := hr.lookup(path); c != nil {
			return c, prefix
		}
	}
	if len(t.wildcard) > 0 {
		for i, b := range name {
			if b != '.' {
				continue
			}
			// A wildcard stands for one label, which cannot be empty.
			if hr, ok := t.wildcard[string(name[i+1:])]; ok && i > 0 {
				if c, prefix := hr.lookup(path); c != nil {
					return c, prefix
				}
			}
			break
		}
	}
	if t.anyHost != nil {
		return t.anyHost.lookup(path)
	}
	return nil, ""
}

// lookup tries the prefixes of path that end on a segment boundary, the shortest
// first, and returns the last that is claimed.
func (hr *hostRoutes) lookup(path string) (found *claim, prefix string) {
	if hr.root != nil {
		found, prefix = hr.root, "/"
	}
	end := 0
	for range hr.depth {
		if end >= len(path) {
			break
		}
		if i := strings.IndexByte(path[end+1:], '/'); i >= 0 {
			end += 1 + i
		} else {
			end = len(path)
		}
		if c, ok := hr.prefixes[path[:end]]; ok {
			found, prefix = c, path[:end]
		}
	}
	return found, prefix
}

// canonicalHost appends host to dst as NormalizeHost would write it: in lower
// case, without port, brackets or trailing dot. Names that are not ASCII cannot
// reach us: a Host header is ASCII (RFC 9110, section 7.2; RFC 3986, 3.2.2).
func canonicalHost(dst []byte, host string) []byte {
	if strings.HasPrefix(host, "[") {
		if end := strings.IndexByte(host, ']'); end > 0 {
			host = host[1:end]
		}
	} else if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.IndexByte(host, ':') == i {
		host = host[:i]
	}
	host = strings.TrimSuffix(host, ".")
	if len(host) > cap(dst) {
		return dst // longer than any name that can be claimed
	}
	for i := range len(host) {
		b := host[i]
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		dst = append(dst, b)
	}
	return dst
}

func canonicalName(name string) string {
	var buf [256]byte
	return string(canonicalHost(buf[:0], name))
}

// newTable returns a table of claims that have no route in common.
func newTable(claims []*claim) *table {
	byHost := make(map[string]map[string]*claim)
	named := make(map[string]*claim, len(claims))
	for _, c := range claims {
		named[c.service] = c
		for _, r := range c.routes {
			if byHost[r.Host] == nil {
				byHost[r.Host] = make(map[string]*claim, 1)
			}
			byHost[r.Host][r.Prefix] = c
		}
	}
	t := &table{exact: make(map[string]*hostRoutes, len(byHost)), wildcard: make(map[string]*hostRoutes), named: named}
	for host, prefixes := range byHost {
		t.setHost(host, newHostRoutes(prefixes))
	}
	return t
}

// with returns a copy of t in which c holds its routes.
func (t *table) with(c *claim) *table {
	next := t.edit(c.routes, func(prefixes map[string]*claim, prefix string) {
		prefixes[prefix] = c
	})
	next.named[c.service] = c
	return next
}

// without returns a copy of t in which c holds nothing. Routes that another
// claim has taken meanwhile stay.
func (t *table) without(c *claim) *table {
	next := t.edit(c.routes, func(prefixes map[string]*claim, prefix string) {
		if prefixes[prefix] == c {
			delete(prefixes, prefix)
		}
	})
	delete(next.named, c.service)
	return next
}

func (t *table) edit(routes []api.Route, change func(prefixes map[string]*claim, prefix string)) *table {
	next := &table{exact: maps.Clone(t.exact), wildcard: maps.Clone(t.wildcard), anyHost: t.anyHost, named: maps.Clone(t.named)}
	byHost := make(map[string][]api.Route)
	for _, r := range routes {
		byHost[r.Host] = append(byHost[r.Host], r)
	}
	for host, routes := range byHost {
		old := next.host(host)
		prefixes := make(map[string]*claim)
		if old != nil {
			prefixes = maps.Collect(old.all())
		}
		for _, r := range routes {
			change(prefixes, r.Prefix)
		}
		next.setHost(host, newHostRoutes(prefixes))
	}
	return next
}

// newHostRoutes takes the map over. It returns nil if there is nothing in it.
func newHostRoutes(prefixes map[string]*claim) *hostRoutes {
	if len(prefixes) == 0 {
		return nil
	}
	hr := &hostRoutes{root: prefixes["/"]}
	delete(prefixes, "/")
	if len(prefixes) > 0 {
		hr.prefixes = prefixes
	}
	for prefix := range prefixes {
		hr.depth = max(hr.depth, strings.Count(prefix, "/"))
	}
	return hr
}

// all returns every prefix with who has it.
func (hr *hostRoutes) all() iter.Seq2[string, *claim] {
	return func(yield func(string, *claim) bool) {
		if hr.root != nil && !yield("/", hr.root) {
			return
		}
		for prefix, c := range hr.prefixes {
			if !yield(prefix, c) {
				return
			}
		}
	}
}

func (t *table) host(host string) *hostRoutes {
	if host == "" {
		return t.anyHost
	}
	if domain, ok := strings.CutPrefix(host, "*."); ok {
		return t.wildcard[domain]
	}
	return t.exact[host]
}

// setHost replaces what is claimed of host; nil removes it.
func (t *table) setHost(host string, hr *hostRoutes) {
	hosts, key := t.exact, host
	if host == "" {
		t.anyHost = hr
		return
	}
	if domain, ok := strings.CutPrefix(host, "*."); ok {
		hosts, key = t.wildcard, domain
	}
	if hr == nil {
		delete(hosts, key)
		return
	}
	hosts[key] = hr
}

func sameRoutes(a, b []api.Route) bool {
	if len(a) != len(b) {
		return false
	}
	inA := make(map[api.Route]bool, len(a))
	for _, r := range a {
		inA[r] = true
	}
	return !slices.ContainsFunc(b, func(r api.Route) bool { return !inA[r] })
}

// defaultSite remembers which host answers handshakes without a name. Whether a host
// has TLS can change without a new table, so it is looked up anew after a moment.
type defaultSite struct {
	table *table
	host  string
	until time.Time
}
