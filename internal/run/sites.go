package run

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
)

// sitePolicies returns policies for the names of the user's own sites that have none.
// They are like the catch-all among the policies, but do not ask us: where somebody is
// asked, Caddy obtains a certificate when a client comes for it and not before, and
// only if it is permitted, which a site of the user's need not be.
func sitePolicies(user object, policies []any, catchAll, httpPort int) []any {
	known := make(map[string]bool)
	for _, p := range policies {
		policy, _ := p.(object)
		for _, name := range stringsOf(policy["subjects"]) {
			known[name] = true
		}
	}
	var public, internal []any
	for _, name := range siteNames(user, httpPort) {
		switch {
		case known[name] || strings.HasSuffix(name, ".ts.net"): // Tailscale has those
		case certmagic.SubjectQualifiesForPublicCert(name):
			public = append(public, name)
		default:
			internal = append(internal, name)
		}
	}
	var all []any
	if len(public) > 0 {
		policy := maps.Clone(policies[catchAll].(object))
		policy["subjects"] = public
		askNotParachute(policy)
		all = append(all, policy)
	}
	if len(internal) > 0 {
		// Without an issuer, Caddy's own authority is.
		all = append(all, object{"subjects": internal})
	}
	return all
}

// askNotParachute is the contrary of [askParachute].
func askNotParachute(policy object) {
	getters, _ := policy["get_certificate"].([]any)
	var others []any
	for _, v := range getters {
		if getter, _ := v.(object); getter["via"] != "parachute" {
			others = append(others, v)
		}
	}
	policy["get_certificate"] = others
	if len(others) == 0 {
		delete(policy, "get_certificate")
	}
}

// siteNames returns the names that Caddy will get certificates for because they have
// sites: those that the routes of servers match that do not only speak plain HTTP.
func siteNames(user object, httpPort int) []string {
	var all []string
	for _, v := range at(user, "apps", "http", "servers") {
		server, _ := v.(object)
		automatic := at(server, "automatic_https")
		if automatic["disable"] == true || automatic["disable_certificates"] == true || plainHTTP(server, httpPort) {
			continue
		}
		skipped := append(stringsOf(automatic["skip"]), stringsOf(automatic["skip_certificates"])...)
		for _, name := range hostsOf(server) {
			if !slices.Contains(skipped, name) {
				all = append(all, name)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// hostsOf returns the hosts that the routes of a server match.
func hostsOf(server object) []string {
	var all []string
	routes, _ := server["routes"].([]any)
	for _, v := range routes {
		route, _ := v.(object)
		matchers, _ := route["match"].([]any)
		for _, v := range matchers {
			matcher, _ := v.(object)
			all = append(all, stringsOf(matcher["host"])...)
		}
	}
	return all
}

// plainHTTP reports whether a server listens on the port for HTTP alone.
func plainHTTP(server object, httpPort int) bool {
	for _, address := range addresses(server["listen"]) {
		if a, err := caddy.ParseNetworkAddress(address); err != nil || a.StartPort != uint(httpPort) || a.EndPort != a.StartPort {
			return false
		}
	}
	return true
}

// stringsOf returns the strings of a JSON list.
func stringsOf(v any) []string {
	list, _ := v.([]any)
	var all []string
	for _, item := range list {
		all = append(all, fmt.Sprint(item))
	}
	return all
}
