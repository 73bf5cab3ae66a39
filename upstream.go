package parachute

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

// Upstreams lets Caddy's own reverse_proxy forward to a deployed service, with
// all of its options. A deploy drains the requests that pass this way too, but it
// cannot close their streams politely: that is for the parachute handler.
type Upstreams struct {
	// Service is the service to forward to. Required.
	Service string `json:"service"`

	engine *proxy.Engine
}

// CaddyModule returns the Caddy module information.
func (Upstreams) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.reverse_proxy.upstreams.parachute", New: func() caddy.Module { return new(Upstreams) }}
}

// Provision finds the app, which need not be configured.
func (u *Upstreams) Provision(ctx caddy.Context) error {
	app, err := ctx.App("parachute")
	if err != nil {
		return err
	}
	u.engine = app.(*App).engine
	return nil
}

// Validate refuses a source without a service.
func (u *Upstreams) Validate() error {
	if u.Service == "" {
		return errors.New("a service is required, as in: dynamic parachute app1")
	}
	return api.ValidateServiceName(u.Service)
}

// GetUpstreams returns the healthy targets of the service's active release. The
// request counts on that release until it is over.
func (u *Upstreams) GetUpstreams(r *http.Request) ([]*reverseproxy.Upstream, error) {
	targets, err := u.engine.Upstreams(r.Context(), u.Service)
	if err != nil {
		return nil, caddyhttp.Error(http.StatusServiceUnavailable, fmt.Errorf("service %s: %w", u.Service, err))
	}
	upstreams := make([]*reverseproxy.Upstream, len(targets))
	for i, t := range targets {
		if t.Scheme != "http" {
			return nil, caddyhttp.Error(http.StatusBadGateway,
				fmt.Errorf("service %s: reverse_proxy cannot be told that %s is not plain HTTP; use the parachute directive", u.Service, t))
		}
		dial := t.Address
		if t.Network == "unix" {
			dial = "unix/" + t.Address
		}
		upstreams[i] = &reverseproxy.Upstream{Dial: dial}
	}
	return upstreams, nil
}
