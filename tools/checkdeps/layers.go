package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// layer says what one package of ours may import.
type layer struct {
	// ours are the packages of ours that it may import, as paths within the module.
	ours []string
	// outside are the packages outside the module and the standard library that it may
	// import, with all below them. Only a package that may reach the host may leave it
	// out: then it may import anything.
	outside []string
	// host says that it may reach Caddy, Prometheus and cobra, directly or through
	// another package.
	host bool
	// why is the reason, which a breach is reported with.
	why string
}

// layers are the packages of the root module, the lowest first.
var layers = map[string]layer{
	"internal/api": {
		outside: []string{"golang.org/x/net/idna"},
		why:     "the contract is for every program that drives the proxy, so it brings nothing along but the tables of host names",
	},
	"internal/descriptors": {why: "it only looks at numbers"},
	"internal/argv0":       {why: "it has to be initialised before net/http, as what asks it has"},
	"internal/version":     {why: "it is read by everyone"},
	"internal/transport": {
		ours:    []string{"internal/descriptors", "internal/http1", "internal/sockio"},
		outside: []string{"golang.org/x/net/http/httpguts", "golang.org/x/sys"},
		why:     "the transport carries HTTP to one target and knows nothing of services",
	},
	"internal/spool": {
		ours:    []string{"internal/descriptors"},
		outside: []string{"golang.org/x/sys"},
		why:     "it keeps bytes, whatever they are",
	},
	"internal/sockio":    {why: "sockets are read from and written to, whoever has them"},
	"internal/errorpage": {why: "pages are made of what they are told"},
	"internal/boundary":  {why: "it only looks at bytes"},
	"internal/forward": {
		ours:    []string{"internal/api", "internal/boundary", "internal/descriptors", "internal/errorpage", "internal/http1", "internal/passthrough", "internal/sockio", "internal/spool", "internal/transport"},
		outside: []string{"golang.org/x/net", "golang.org/x/sys"},
		why:     "the data plane carries requests to the release that it is given, and asks nobody which one that is",
	},
	"internal/proxy": {
		ours:    []string{"internal/analysis", "internal/api", "internal/errorpage", "internal/forward", "internal/passthrough", "internal/spool"},
		outside: []string{"golang.org/x/net", "go.uber.org/zap"},
		why:     "the engine does not know its host: it declares what it needs as interfaces",
	},
	"internal/fleet": {
		ours:    []string{"internal/api", "internal/proxy"},
		outside: []string{"go.uber.org/zap"},
		why:     "proxies decide together by a protocol, wherever the decisions are kept",
	},
	"internal/fleet/fleettest": {
		ours: []string{"internal/api", "internal/fleet", "internal/forward", "internal/proxy"},
		why:  "it tests the stores of a fleet, whatever they keep things in, by proxies that get requests",
	},
	"internal/fleetstorage": {
		ours: []string{"internal/api", "internal/fleet"},
		host: true,
		why:  "it keeps what a fleet decides in Caddy's storage, and decides nothing",
	},
	"internal/testkit": {ours: []string{"internal/api"}, why: "it is for tests, whatever they test"},
	"internal/client": {
		ours: []string{"internal/api"},
		why:  "whoever drives the proxy speaks the contract and links nothing else of it",
	},
	"internal/certs": {
		ours: []string{"internal/api", "internal/proxy"},
		host: true,
		why:  "certificates come from Caddy's issuers, and the engine says for whom",
	},
	"internal/cli": {
		ours: []string{"internal/api", "internal/argv0", "internal/client", "internal/version"},
		host: true,
		why:  "commands are clients of the API: what they show is what the API says",
	},
	"internal/clientconn": {
		ours: []string{"internal/http1", "internal/passthrough", "internal/sockio"},
		host: true,
		why:  "it works between a client's socket and Caddy's server, and knows nothing of services",
	},
	"internal/http1":        {why: "heads are parsed by whoever reads them"},
	"internal/http1/corpus": {why: "it is data for tests"},
	"internal/passthrough":  {ours: []string{"internal/http1"}, why: "it is what a server and the forwarding hand each other"},
	"internal/edge": {
		ours: []string{"internal/clientconn", "internal/http1", "internal/passthrough", "internal/sockio"},
		host: true,
		why:  "it serves connections of clientconn, and knows nothing of services",
	},
	"internal/packets": {
		outside: []string{"golang.org/x/net/ipv4", "golang.org/x/sys"},
		why:     "packets are passed on by the ids of their connections, whatever is in them",
	},
	"internal/front": {
		ours: []string{"internal/edge", "internal/packets", "internal/passthrough"},
		host: true,
		why:  "it keeps sockets and connections for Caddy's servers, and knows nothing of services",
	},
	"internal/handlers": {
		ours: []string{"internal/api", "internal/clientconn", "internal/proxy"},
		host: true,
		why:  "handlers are Caddy's, and the engine says which requests pass them",
	},
	"internal/run": {
		ours: []string{"internal/api", "internal/cli", "internal/client", "internal/front", "internal/handoff", "internal/spool", "internal/version"},
		host: true,
		why:  "run writes a config for Caddy, which names the modules of the root and knows none of their types",
	},
	"internal/kamal": {
		ours: []string{"internal/api", "internal/cli", "internal/client", "internal/errorpage", "internal/run", "internal/version"},
		host: true,
		why:  "the commands of kamal-proxy are clients of the API, and what it has left becomes requests",
	},
	"internal/extendedconnect": {
		ours: []string{"internal/argv0"},
		why:  "it has to be initialised before net/http",
	},
	"internal/analysis": {
		why: "statistics know counts alone",
	},
	"internal/handoff": {
		ours:    []string{"internal/api"},
		outside: []string{"golang.org/x/sys"},
		why:     "one process hands its sockets over to the next, whoever listens on them",
	},
	"internal/webhook": {
		ours:    []string{"internal/api"},
		outside: []string{"go.uber.org/zap"},
		why:     "webhooks read the feed of events and know nothing of where it comes from",
	},
	".": {
		ours: []string{
			"internal/api", "internal/argv0", "internal/certs", "internal/cli", "internal/client", "internal/clientconn", "internal/descriptors", "internal/errorpage", "internal/extendedconnect",
			"internal/fleet", "internal/fleetstorage", "internal/forward", "internal/front", "internal/handlers", "internal/handoff", "internal/http1", "internal/kamal", "internal/passthrough", "internal/proxy", "internal/run", "internal/spool", "internal/version", "internal/webhook",
		},
		host: true,
		why:  "the root joins the parts with Caddy",
	},
	"caddy/lean":      {ours: []string{"."}, host: true, why: "it is a main package with fewer of Caddy's modules"},
	"caddy/parachute": {ours: []string{"."}, host: true, why: "it is the main package that xcaddy would generate"},
}

// hostPackages are the import path prefixes of the host.
var hostPackages = []string{
	"github.com/caddyserver/",
	"github.com/prometheus/",
	"github.com/spf13/",
}

// goPackage is what checkdeps needs of `go list -json`.
type goPackage struct {
	ImportPath string
	Standard   bool
	Imports    []string
}

// checkLayers names every import of the given packages, which are those of module with
// all their dependencies, that the table does not allow, and every package that the
// table does not know.
func checkLayers(module string, packages []goPackage, table map[string]layer) []string {
	known := make(map[string]goPackage, len(packages))
	for _, p := range packages {
		known[p.ImportPath] = p
	}
	var problems []string
	for _, path := range slices.Sorted(maps.Keys(known)) {
		name, ours := within(module, path)
		if !ours {
			continue
		}
		l, listed := table[name]
		if !listed {
			problems = append(problems, fmt.Sprintf("%s is in no layer: say in tools/checkdeps/layers.go what it may import", name))
			continue
		}
		for _, imported := range known[path].Imports {
			if !l.allows(module, imported, known[imported].Standard) {
				problems = append(problems, fmt.Sprintf("%s must not import %s: %s", name, imported, l.why))
			}
		}
		if l.host {
			continue
		}
		for _, reached := range reach(known, path) {
			problems = append(problems, fmt.Sprintf("%s must not reach %s: %s", name, reached, l.why))
		}
	}
	return problems
}

// within returns the path of a package inside the module, and whether it is there.
func within(module, path string) (name string, ours bool) {
	if path == module {
		return ".", true
	}
	return strings.CutPrefix(path, module+"/")
}

// allows reports whether a package of the layer may import another.
func (l layer) allows(module, path string, standard bool) bool {
	if name, ours := within(module, path); ours {
		return slices.Contains(l.ours, name)
	}
	return standard || l.host && l.outside == nil || isHost(path) || // reach tells of the host
		slices.ContainsFunc(l.outside, func(prefix string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") })
}

// reach returns the imports that lead from a package into the host, each as the host's
// package and the one that imports it.
func reach(known map[string]goPackage, from string) []string {
	var found []string
	seen := map[string]bool{from: true}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		for _, path := range known[queue[0]].Imports {
			switch {
			case isHost(path): // what is behind it is no news
				found = append(found, fmt.Sprintf("%s, which %s imports", path, queue[0]))
			case !seen[path]:
				seen[path] = true
				queue = append(queue, path)
			}
		}
	}
	return found
}

func isHost(path string) bool {
	return slices.ContainsFunc(hostPackages, func(prefix string) bool { return strings.HasPrefix(path, prefix) })
}
