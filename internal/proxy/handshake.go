package proxy

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// TLSName returns what the handshake for a server name is answered with, and
// whether there is anything: whether a service was deployed with TLS for it.
func (e *Engine) TLSName(serverName string) (TLSName, bool) {
	r, host := e.table.Load().tlsRelease(serverName)
	if r == nil {
		return TLSName{}, false
	}
	return r.source().answer(e, serverName, host)
}

// NeedsCertificate reports whether a service that claims host has its certificates
// from issuer.
func (e *Engine) NeedsCertificate(host string, issuer api.Issuer) bool {
	hr := e.table.Load().host(host)
	if hr == nil {
		return false
	}
	for _, c := range hr.all() {
		r := c.release()
		if t := r.Spec.Options.TLS; t != nil && t.Issuer == issuer && slices.Contains(r.certificateHosts(), host) {
			return true
		}
	}
	return false
}

// tlsRelease returns the release that has the certificate for a server name, and
// the host that it claims. Of a host that several services share, the one with the
// shortest path prefix that has TLS decides. If none of them has, and none has the root of the
// host, who has that decides: see [table.tlsFrom].
func (t *table) tlsRelease(serverName string) (*release, string) {
	if name := canonicalName(strings.TrimPrefix(serverName, "*.")); !api.IsWildcard(serverName) {
		if r, decides := t.exact[name].tlsRelease(); decides {
			return r, name
		}
		if _, domain, ok := strings.Cut(name, "."); ok {
			if r, decides := t.wildcard[domain].tlsRelease(); decides {
				return r, "*." + domain
			}
		}
	} else if r, decides := t.wildcard[name].tlsRelease(); decides {
		return r, serverName
	}
	r, _ := t.anyHost.tlsRelease()
	return r, ""
}

// tlsRelease returns the release that has the certificate of a host, or nil, and whether that
// decides about the host: one of which only paths are claimed, without TLS, is left to whoever
// has its root. A release whose certificate files cannot be read stands back for others.
func (hr *hostRoutes) tlsRelease() (found *release, decides bool) {
	if hr == nil {
		return nil, false
	}
	var candidates []*claim
	if hr.root != nil {
		if r := hr.root.release(); r.answersTLS() {
			return r, true // as nearly always
		}
		candidates = append(candidates, hr.root)
	}
	for _, prefix := range slices.Sorted(maps.Keys(hr.prefixes)) {
		candidates = append(candidates, hr.prefixes[prefix])
	}
	for _, c := range candidates {
		r := c.release()
		if r.answersTLS() {
			return r, true
		}
		if found == nil && r.Spec.Options.TLS != nil {
			found = r
		}
	}
	return found, found != nil || hr.root != nil
}

// answersTLS reports whether handshakes for r can be answered, or be tried to.
func (r *release) answersTLS() bool {
	source := r.source()
	return source != nil && source.answers()
}

// defaultSiteFor is how long a [defaultSite] is used before it is looked up anew.
const defaultSiteFor = time.Second

// DefaultTLSName returns what a handshake without a server name is answered with:
// the certificate of the first host, by name, that has one.
func (e *Engine) DefaultTLSName() (TLSName, bool) {
	t, now := e.table.Load(), time.Now()
	known := e.defaultSite.Load()
	if known == nil || known.table != t || now.After(known.until) {
		known = &defaultSite{table: t, host: t.firstTLSHost(), until: now.Add(defaultSiteFor)}
		e.defaultSite.Store(known)
	}
	if known.host == "" {
		return TLSName{}, false
	}
	return e.TLSName(known.host)
}

// firstTLSHost returns the first host by name that answers handshakes, or nothing.
func (t *table) firstTLSHost() string {
	first := ""
	consider := func(host string, hr *hostRoutes) {
		if first != "" && host >= first {
			return
		}
		if r, _ := hr.tlsRelease(); r != nil && r.answersTLS() {
			first = host
		}
	}
	for host, hr := range t.exact {
		consider(host, hr)
	}
	if first == "" {
		for domain, hr := range t.wildcard {
			consider("*."+domain, hr)
		}
	}
	return first
}
