package run

import (
	"errors"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
)

// mergeConfig merges a user's config into ours. What both have, the user's wins,
// with three exceptions: sites on the default ports move to ours; sites that listen
// where we do get our route behind their own; and their automation policies ask us
// for certificates, too, as ours for all other names does.
func mergeConfig(config, user object) error {
	if admin, ok := user["admin"].(object); ok && admin["disabled"] == true {
		return errors.New("it turns the admin endpoint off, without which nothing can be deployed")
	}
	if err := movePorts(config, user); err != nil {
		return err
	}
	if err := shareListeners(config, user); err != nil {
		return err
	}
	ours, _ := at(config, "apps", "tls", "automation")["policies"].([]any)
	theirs, _ := at(user, "apps", "tls", "automation")["policies"].([]any)
	if at(user, "apps", "tls", "automation")["on_demand"] != nil {
		// Who may have certificates on demand is for one of us to say. Ours are not
		// obtained in that way.
		delete(at(config, "apps", "tls", "automation"), "on_demand")
	}
	merge(config, user)
	if len(ours) > 0 {
		policies := mergePolicies(theirs, ours)
		i := slices.IndexFunc(policies, isCatchAll)
		httpPort, _ := at(config, "apps", "http")["http_port"].(int)
		at(config, "apps", "tls", "automation")["policies"] = slices.Insert(policies, i, sitePolicies(user, policies, i, httpPort)...)
	}
	return nil
}

// mergePolicies puts the user's policies before ours, which is the one for all names
// that have no other. If they have such a one, it asks us for certificates instead.
// Those that do not say who issues certificates leave that to the flags.
func mergePolicies(theirs, ours []any) []any {
	issuers := ours[0].(object)["issuers"]
	for _, p := range theirs {
		if policy, ok := p.(object); ok && policy["issuers"] == nil && issuers != nil && !onlyInternal(policy) {
			policy["issuers"] = issuers
		}
	}
	i := slices.IndexFunc(theirs, isCatchAll)
	if i < 0 {
		return slices.Concat(theirs, ours)
	}
	askParachute(theirs[i].(object))
	return theirs
}

// onlyInternal reports whether a policy is only for names, such as localhost, that
// Caddy's own authority is the issuer for unless another is named.
func onlyInternal(policy object) bool {
	subjects := stringsOf(policy["subjects"])
	return len(subjects) > 0 && !slices.ContainsFunc(subjects, certmagic.SubjectQualifiesForPublicCert)
}

// isCatchAll reports whether a policy is for all names that have no other. What is no
// policy at all is not: Caddy will say what is wrong with it.
func isCatchAll(p any) bool {
	policy, ok := p.(object)
	subjects, _ := policy["subjects"].([]any)
	return ok && len(subjects) == 0
}

// movePorts moves the user's sites from the ports that HTTP and HTTPS have by
// default to those that we serve them on: that is where a site without a port
// belongs, and to Caddy any other would be just a port.
func movePorts(config, user object) error {
	ours, theirs := at(config, "apps", "http"), at(user, "apps", "http")
	for key, fallback := range map[string]int{"http_port": 80, "https_port": 443} {
		port, ok := ours[key].(int)
		if !ok {
			continue // not served by us
		}
		if set, ok := theirs[key].(float64); ok && int(set) != port {
			return fmt.Errorf("its %s is %d, but the proxy's is %d; make them the same, or leave it out of the file", key, int(set), port)
		} else if ok {
			fallback = port
		}
		bind := listenHost(ours, port)
		for _, v := range at(theirs, "servers") {
			server, _ := v.(object)
			list, _ := server["listen"].([]any)
			for i, item := range list {
				if a, err := caddy.ParseNetworkAddress(fmt.Sprint(item)); err == nil && a.StartPort == uint(fallback) && a.EndPort == a.StartPort {
					if a.Host == "" {
						a.Host = bind
					}
					a.StartPort, a.EndPort = uint(port), uint(port)
					list[i] = a.String()
				}
			}
		}
	}
	return nil
}

// listenHost returns the host that our server on a port is bound to.
func listenHost(ours object, port int) string {
	for _, v := range at(ours, "servers") {
		for _, address := range addresses(v.(object)["listen"]) {
			if a, err := caddy.ParseNetworkAddress(address); err == nil && a.StartPort == uint(port) {
				return a.Host
			}
		}
	}
	return ""
}

// shareListeners puts our route behind those of every server of the user's that
// listens on an address of ours, and gives up our own server there.
func shareListeners(config, user object) error {
	ours := at(config, "apps", "http", "servers")
	for name, v := range at(user, "apps", "http", "servers") {
		theirs, ok := v.(object)
		if !ok {
			continue
		}
		if _, taken := ours[name]; taken {
			return fmt.Errorf("the server name %s is reserved for parachute", name)
		}
		var shared []any // our routes
		for _, ourName := range []string{httpServer, httpsServer} {
			our, ok := ours[ourName].(object)
			if ok && sameAddress(our["listen"], theirs["listen"]) {
				delete(ours, ourName)
				shared = our["routes"].([]any)
				if limit, ok := theirs["max_header_bytes"].(float64); ok {
					shared = withHeadLimit(shared, int64(limit))
				}
				inherit(theirs, our)
			}
		}
		if len(shared) > 0 {
			routes, _ := theirs["routes"].([]any)
			theirs["routes"] = append(routes, shared...)
		}
	}
	return nil
}

// inherit gives a user's server what the flags of run ask for, unless it has
// settings of its own.
func inherit(theirs, our object) {
	letOddNamesBe(our) // their handlers are not made for such fields
	if theirs["trusted_proxies"] == nil {
		for _, key := range []string{"trusted_proxies", "trusted_proxies_strict"} {
			if v, ok := our[key]; ok {
				theirs[key] = v
			}
		}
	}
	if theirs["tls_connection_policies"] == nil && theirs["strict_sni_host"] == nil && our["strict_sni_host"] != nil {
		theirs["strict_sni_host"] = our["strict_sni_host"]
	}
	for _, key := range []string{"logs", "tls_connection_policies", "max_header_bytes"} {
		if v, ok := our[key]; ok && theirs[key] == nil {
			theirs[key] = v
		}
	}
}

// sameAddress reports whether two lists of listen addresses have one in common.
func sameAddress(a, b any) bool {
	for _, x := range addresses(a) {
		if slices.Contains(addresses(b), x) {
			return true
		}
	}
	return false
}

func addresses(v any) []string {
	list, _ := v.([]any)
	var all []string
	for _, item := range list {
		s, _ := item.(string)
		if a, err := caddy.ParseNetworkAddress(s); err == nil {
			s = a.String()
		}
		all = append(all, s)
	}
	return all
}

// at returns the object at a path, or an empty one.
func at(o object, path ...string) object {
	for _, key := range path {
		next, ok := o[key].(object)
		if !ok {
			return object{}
		}
		o = next
	}
	return o
}

// merge puts what user has into base, object by object. A null says nothing, as
// it does to Caddy.
func merge(base, user object) {
	for k, v := range user {
		if v == nil {
			continue
		}
		from, isObject := v.(object)
		into, both := base[k].(object)
		if isObject && both {
			merge(into, from)
			continue
		}
		base[k] = v
	}
}
