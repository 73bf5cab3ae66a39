package parachute

import (
	"encoding/json"
	"net/http"
	"net/netip"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/parachute-proxy/parachute/internal/clientconn"
)

// TrustedProxies is a source of the addresses of trusted proxies that lets header fields
// reach the handler "parachute" although there is an underscore or a dot in their names.
// It is for servers whose routes lead to nothing but that handler.
//
// To ask who is trusted is the first thing that Caddy's server does with a request, and
// the only one that it has a module for before it drops such fields. A source must not
// modify the request, because the server has read parts of it; the names of these fields
// are not among them, but of what --access-log writes.
type TrustedProxies struct {
	// Trusted is the source of the addresses. Default: nobody is trusted.
	Trusted json.RawMessage `json:"trusted,omitempty" caddy:"namespace=http.ip_sources inline_key=source"`

	trusted caddyhttp.IPRangeSource
}

// CaddyModule returns the Caddy module information.
func (TrustedProxies) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.ip_sources.parachute", New: func() caddy.Module { return new(TrustedProxies) }}
}

// Provision loads the source.
func (t *TrustedProxies) Provision(ctx caddy.Context) error {
	if t.Trusted == nil {
		// The handler of the server, which is provisioned later, has a use for that.
		app, err := ctx.AppIfConfigured("parachute")
		if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok && err == nil {
			app.(*App).trustNobody[server] = true
		}
		return nil
	}
	source, err := ctx.LoadModule(t, "Trusted")
	if err != nil {
		return err
	}
	t.trusted = source.(caddyhttp.IPRangeSource)
	return nil
}

// GetIPRanges implements caddyhttp.IPRangeSource.
func (t *TrustedProxies) GetIPRanges(r *http.Request) []netip.Prefix {
	clientconn.HideNames(r.Header)
	if t.trusted == nil {
		return nil
	}
	return t.trusted.GetIPRanges(r)
}
