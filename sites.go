package parachute

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/front"
)

// Values of App.SiteHosts.
const (
	refuseSiteHosts = "refuse"
	warnOfSiteHosts = "warn"
)

// refuseSites is checkHosts by the config that is running.
func refuseSites(spec api.Spec) error {
	if a := running.current(); a != nil {
		return a.checkHosts(spec)
	}
	return nil
}

// checkHosts returns why a deploy would get no requests for one of its hosts: a site of
// the config has it. With App.SiteHosts at "warn", that is only in the log.
func (a *App) checkHosts(spec api.Spec) error {
	if a.SiteHosts == "" {
		return nil
	}
	for _, host := range spec.Hosts {
		site, address := a.siteOf(host, spec.Options.TLS != nil)
		switch {
		case site == "":
		case a.SiteHosts == warnOfSiteHosts:
			a.warnOfSite(spec.Service, host, site, address)
		default:
			return &api.Error{
				Code:    api.CodeRouteConflict,
				Message: fmt.Sprintf("the host %s belongs to the site %s on %s of the proxy's own config, so no request would arrive", host, site, address),
				Hint:    "put the parachute directive into that site, or take the site out of the config; run --allow-site-hosts makes this a warning",
			}
		}
	}
	return nil
}

// warnOfSites logs what hosts of services have sites in this config: they may have come
// with it.
func (a *App) warnOfSites() {
	if a.SiteHosts == "" {
		return
	}
	for _, service := range a.engine.Services() {
		for _, host := range service.Hosts {
			if site, address := a.siteOf(host, service.TLS); site != "" {
				a.warnOfSite(service.Name, host, site, address)
			}
		}
	}
}

func (a *App) warnOfSite(service, host, site, address string) {
	a.logger.Warn("requests for a host go to a site of the config instead of to its service",
		zap.String("service", service), zap.String("host", host), zap.String("site", site), zap.String("address", address))
}

// siteOf returns the site that gets the requests for a host in our place, and the
// address of its server. Of a service with TLS, it is the requests over TLS that count.
func (a *App) siteOf(host string, secure bool) (site, address string) {
	configured, err := a.ctx.AppIfConfigured("http")
	if err != nil {
		return "", ""
	}
	for _, server := range configured.(*caddyhttp.App).Servers {
		if secure && len(server.TLSConnPolicies) == 0 {
			continue
		}
		if !slices.ContainsFunc(server.Routes, leadsToUs) {
			continue
		}
		for _, route := range server.Routes {
			site := siteWithHost(route, host)
			switch {
			case site == "":
			case leadsToUs(route):
				return "", ""
			case route.Terminal:
				var addresses []string
				for _, address := range server.Listen {
					addresses = append(addresses, front.Plain(address))
				}
				return site, strings.Join(addresses, ", ")
			}
		}
	}
	return "", ""
}

// siteWithHost returns the host by which a route takes all requests for host, or nothing.
func siteWithHost(route caddyhttp.Route, host string) string {
	for _, matchers := range route.MatcherSets {
		if len(matchers) != 1 {
			continue // which are for some requests only
		}
		hosts, _ := matchers[0].(*caddyhttp.MatchHost)
		if hosts == nil {
			continue
		}
		for _, pattern := range *hosts {
			if coversHost(pattern, host) {
				return pattern
			}
		}
	}
	return ""
}

// coversHost reports whether a host of a site, in which * stands for a label, is for all
// names that another host is for.
func coversHost(pattern, host string) bool {
	ours, theirs := strings.Split(host, "."), strings.Split(pattern, ".")
	return slices.EqualFunc(theirs, ours, func(pattern, label string) bool {
		return pattern == "*" || strings.EqualFold(pattern, label)
	})
}

// leadsToUs reports whether requests may come to us by a route.
func leadsToUs(route caddyhttp.Route) bool {
	return slices.ContainsFunc(route.Handlers, func(handler caddyhttp.MiddlewareHandler) bool {
		switch h := handler.(type) {
		case *Handler:
			return true
		case *caddyhttp.Subroute:
			return slices.ContainsFunc(h.Routes, leadsToUs)
		case *reverseproxy.Handler:
			_, ours := h.DynamicUpstreams.(*Upstreams)
			return ours
		case *caddyhttp.Invoke:
			return true // perhaps
		}
		return false
	})
}
