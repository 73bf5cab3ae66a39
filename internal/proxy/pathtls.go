package proxy

import "github.com/parachute-proxy/parachute/internal/api"

// rootOf returns the release that serves the root of a host, as the router finds it; nil if
// none does.
func (t *table) rootOf(host string) *release {
	if c, _ := t.lookup(host, "/"); c != nil {
		return c.release()
	}
	return nil
}

// tlsFrom returns the release that r takes the settings for HTTPS from for what it serves of a
// host below a prefix: the one with the root of the host, if that has HTTPS. Browsers know
// HTTPS by the host, and not by the path. It is nil if the settings of r count.
func (t *table) tlsFrom(r *release, host, prefix string) *release {
	if prefix == "/" {
		return nil
	}
	if root := t.rootOf(host); root != nil && root.Spec.Options.TLS != nil && root.Spec.Service != r.Spec.Service {
		return root
	}
	return nil
}

// coversTLS reports whether a client that asks for host by HTTPS can be served, by whichever
// service has the certificate.
func (e *Engine) coversTLS(host string) bool {
	r, _ := e.table.Load().tlsRelease(host)
	return r != nil && r.source() != nil && r.source().covers(e, host)
}

// tlsSources returns from which services r takes the settings for HTTPS, by its hosts.
func (t *table) tlsSources(r *release) (all []api.TLSSource) {
	seen := make(map[string]bool)
	for _, route := range r.Spec.Routes {
		root := t.tlsFrom(r, route.Host, route.Prefix)
		if root == nil || seen[route.Host] {
			continue
		}
		seen[route.Host] = true
		all = append(all, api.TLSSource{Host: route.Host, Service: root.Spec.Service, Redirect: root.Spec.Options.TLS.Redirect})
	}
	return all
}
