// Package parachute is an HTTP proxy for zero-downtime deployments, built as a
// Caddy v2 plugin. Caddy brings the servers, certificates, storage, logging and
// the admin endpoint; internal/proxy holds the table of services and the switch;
// internal/forward carries the requests, up to the end of a drain; this package joins
// them with Caddy and adds the commands.
package parachute

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/certmagic"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap/zapcore"

	"github.com/parachute-proxy/parachute/internal/certs"
	"github.com/parachute-proxy/parachute/internal/clientconn"
	_ "github.com/parachute-proxy/parachute/internal/extendedconnect" // WebSockets over HTTP/2
	"github.com/parachute-proxy/parachute/internal/forward"
	"github.com/parachute-proxy/parachute/internal/front"
	"github.com/parachute-proxy/parachute/internal/handlers"
	"github.com/parachute-proxy/parachute/internal/proxy"
)

func init() {
	caddy.RegisterModule(new(App))
	caddy.RegisterModule(Handler{})
	caddy.RegisterModule(new(ClientListener))
	caddy.RegisterModule(new(Front))
	caddy.RegisterModule(front.TicketKeys{})
	caddy.RegisterModule(TrustedProxies{})
	caddy.RegisterModule(Upstreams{})
	caddy.RegisterModule(CertificateGetter{})
	caddy.RegisterModule(Permission{})
	caddy.RegisterModule(ClientAuthMatcher{})
	caddy.RegisterModule(adminAPI{})
	caddy.RegisterModule(StderrWriter{})
	caddy.RegisterModule(KamalProxyEncoder{})
	caddy.RegisterModule(handlers.BasicAuth{})

	front.RegisterNetworks()

	httpcaddyfile.RegisterGlobalOption("parachute", parseGlobalOption)
	httpcaddyfile.RegisterHandlerDirective("parachute", parseHandlerDirective)
	httpcaddyfile.RegisterDirectiveOrder("parachute", httpcaddyfile.After, "reverse_proxy")

	caddycmd.RegisterCommand(rootCommand())
}

// Interface guards.
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)

	_ caddyevents.Handler = life{}

	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ caddyfile.Unmarshaler       = (*Handler)(nil)

	_ caddy.ListenerWrapper = (*ClientListener)(nil)
	_ caddy.Provisioner     = (*ClientListener)(nil)

	_ caddytls.STEKProvider = (*front.TicketKeys)(nil)

	_ caddy.ListenerWrapper = (*Front)(nil)
	_ caddy.Provisioner     = (*Front)(nil)
	_ caddyfile.Unmarshaler = (*Front)(nil)

	_ caddy.Provisioner       = (*TrustedProxies)(nil)
	_ caddyhttp.IPRangeSource = (*TrustedProxies)(nil)

	_ forward.ClientConnection = (*clientconn.Conn)(nil)

	_ caddy.Provisioner           = (*Upstreams)(nil)
	_ caddy.Validator             = (*Upstreams)(nil)
	_ reverseproxy.UpstreamSource = (*Upstreams)(nil)
	_ caddyfile.Unmarshaler       = (*Upstreams)(nil)

	_ caddy.Provisioner     = (*CertificateGetter)(nil)
	_ certmagic.Manager     = (*CertificateGetter)(nil)
	_ caddyfile.Unmarshaler = (*CertificateGetter)(nil)

	_ caddy.Provisioner           = (*Permission)(nil)
	_ caddytls.OnDemandPermission = (*Permission)(nil)
	_ caddyfile.Unmarshaler       = (*Permission)(nil)

	_ caddy.Provisioner          = (*ClientAuthMatcher)(nil)
	_ caddytls.ConnectionMatcher = (*ClientAuthMatcher)(nil)

	_ caddy.AdminRouter = adminAPI{}

	_ caddy.WriterOpener = StderrWriter{}

	_ caddy.Provisioner       = (*KamalProxyEncoder)(nil)
	_ zapcore.Encoder         = (*KamalProxyEncoder)(nil)
	_ caddy.Provisioner       = (*handlers.BasicAuth)(nil)
	_ caddyauth.Authenticator = (*handlers.BasicAuth)(nil)

	_ proxy.Store          = (*store)(nil)
	_ proxy.Certifier      = (*certs.Manager)(nil)
	_ prometheus.Collector = (*collector)(nil)
)
