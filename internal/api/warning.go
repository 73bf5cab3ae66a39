package api

import "fmt"

// Warnings tells what a person should know of a deploy that goes on all the same: what kept clients
// out and does not any more, and what has no effect, or not the one that was meant. before is what the
// release before has, nil without one. What was so before is not told again. A setting is a [Field].
func Warnings(service string, before *Options, next Options) (all []string) {
	var old Options
	if before != nil {
		old = *before
	}
	for _, lost := range []struct {
		field    Field
		old, new bool
		effect   string
	}{
		{"basic_auth", len(old.BasicAuth) > 0, len(next.BasicAuth) > 0, "it asks nobody for a password"},
		{"forward_auth", old.ForwardAuth != "", next.ForwardAuth != "", "the gateway is not asked"},
		{"client_ca", old.ClientCA != "", next.ClientCA != "", "clients need no certificate"},
		{"allow_ip", len(old.AllowIP) > 0, len(next.AllowIP) > 0, "clients get in from all addresses"},
		{"deny_ip", len(old.DenyIP) > 0, len(next.DenyIP) > 0, "it refuses no addresses"},
	} {
		if lost.old && !lost.new {
			all = append(all, fmt.Sprintf("%s has no %s any more: %s", service, lost.field, lost.effect))
		}
	}
	for _, plain := range []struct {
		field    Field
		old, new bool
		effect   string
	}{
		{"basic_auth", len(old.BasicAuth) > 0 && old.TLS == nil, len(next.BasicAuth) > 0 && next.TLS == nil, "others on the way can read the passwords"},
		{"hsts", old.HSTS != "" && old.TLS == nil, next.HSTS != "" && next.TLS == nil, "it has no effect"},
	} {
		if plain.new && !plain.old {
			all = append(all, fmt.Sprintf("%s has %s without %s: %s, unless something in front of the proxy serves HTTPS", service, plain.field, Field("tls"), plain.effect))
		}
	}
	return all
}
