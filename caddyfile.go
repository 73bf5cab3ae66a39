package parachute

import (
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/handlers"
	"github.com/parachute-proxy/parachute/internal/run"
)

// parseGlobalOption parses the global option:
//
//	{
//		parachute {
//			grace_period <duration>
//			public_https_port <port>
//			allow_handlers    none|safe|all
//			buffer_dir        <directory>
//			buffer_disk       <size>
//		}
//	}
//
// The option may be left out altogether: the directive brings the app with it.
func parseGlobalOption(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		return nil, d.Err("the parachute option is given twice")
	}
	d.Next() // consume the option's name
	var app App
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	for d.NextBlock(0) {
		switch d.Val() {
		case "grace_period":
			if app.GracePeriod != 0 {
				return nil, d.Err("grace_period is given twice")
			}
			if !d.NextArg() {
				return nil, d.ArgErr()
			}
			grace, err := caddy.ParseDuration(d.Val())
			if err != nil || grace <= 0 {
				return nil, d.Errf("grace_period %q is not a positive duration, such as 10s", d.Val())
			}
			app.GracePeriod = caddy.Duration(grace)
		case "public_https_port":
			if app.PublicHTTPSPort != 0 {
				return nil, d.Err("public_https_port is given twice")
			}
			if !d.NextArg() {
				return nil, d.ArgErr()
			}
			port, err := strconv.ParseUint(d.Val(), 10, 16)
			if err != nil || port == 0 {
				return nil, d.Errf("public_https_port %q is not a port; a port is a number from 1 to 65535", d.Val())
			}
			app.PublicHTTPSPort = int(port)
		case "allow_handlers":
			if app.AllowHandlers != "" {
				return nil, d.Err("allow_handlers is given twice")
			}
			if !d.NextArg() {
				return nil, d.ArgErr()
			}
			app.AllowHandlers = handlers.Allow(d.Val())
			if !slices.Contains(handlers.Allows(), app.AllowHandlers) {
				return nil, d.Errf("unknown allow_handlers %q; use none, safe or all", d.Val())
			}
		case "before_switch":
			if app.BeforeSwitch != "" {
				return nil, d.Err("before_switch is given twice")
			}
			if !d.Args(&app.BeforeSwitch) {
				return nil, d.ArgErr()
			}
		case "buffer_dir":
			if app.BufferDir != "" {
				return nil, d.Err("buffer_dir is given twice")
			}
			if !d.Args(&app.BufferDir) {
				return nil, d.ArgErr()
			}
		case "buffer_disk":
			if app.BufferDisk != 0 {
				return nil, d.Err("buffer_disk is given twice")
			}
			if !d.NextArg() {
				return nil, d.ArgErr()
			}
			size, err := api.ParseSize(d.Val())
			if err != nil || size == 0 {
				return nil, d.Errf("buffer_disk %q is not a size, such as 10GiB", d.Val())
			}
			app.BufferDisk = int64(size)
		case "webhook":
			var h Webhook
			if !d.AllArgs(&h.URL, &h.SecretFile) {
				return nil, d.ArgErr()
			}
			app.Webhooks = append(app.Webhooks, h)
		default:
			return nil, d.Errf("unrecognized option %q; parachute knows grace_period, public_https_port, allow_handlers, before_switch, buffer_dir, buffer_disk and webhook", d.Val())
		}
		if d.NextArg() {
			return nil, d.ArgErr()
		}
	}
	return httpcaddyfile.App{Name: "parachute", Value: caddyconfig.JSON(app, nil)}, nil
}

func parseHandlerDirective(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile parses the directive:
//
//	parachute [<matcher>] [<service>] {
//		service <service>
//		pass_thru
//		client_timeout <duration>
//		ping_path <path>
//	}
//
// Without a service, requests go to the one that claims their host and path.
// With pass_thru, requests that no service is deployed for go to the next
// handler instead of being answered with 404. With client_timeout, a client may stall
// for that time while it sends a request or takes the answer. With ping_path, that path says
// on every host of the site whether clients should come.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the directive's name
	if d.NextArg() {
		h.Service = d.Val()
		if d.NextArg() {
			return d.ArgErr()
		}
	}
	for d.NextBlock(0) {
		switch d.Val() {
		case "service":
			if h.Service != "" {
				return d.Err("the service is given twice")
			}
			if !d.AllArgs(&h.Service) {
				return d.ArgErr()
			}
		case "pass_thru":
			if h.PassThru {
				return d.Err("pass_thru is given twice")
			}
			if d.NextArg() {
				return d.ArgErr()
			}
			h.PassThru = true
		case "client_timeout":
			if h.ClientTimeout != 0 {
				return d.Err("client_timeout is given twice")
			}
			var text string
			if !d.AllArgs(&text) {
				return d.ArgErr()
			}
			timeout, err := caddy.ParseDuration(text)
			if err != nil || timeout <= 0 {
				return d.Errf("client_timeout %q is not a duration, such as 60s", text)
			}
			h.ClientTimeout = caddy.Duration(timeout)
		case "ping_path":
			if h.PingPath != "" {
				return d.Err("ping_path is given twice")
			}
			if !d.AllArgs(&h.PingPath) {
				return d.ArgErr()
			}
			if err := run.CheckPingPath(h.PingPath); err != nil {
				return d.Errf("ping_path: %v", err)
			}
		default:
			return d.Errf("unrecognized subdirective %q; parachute knows service, pass_thru, client_timeout and ping_path", d.Val())
		}
	}
	return nil
}

// UnmarshalCaddyfile parses the dynamic upstreams of reverse_proxy:
//
//	reverse_proxy {
//		dynamic parachute <service>
//	}
func (u *Upstreams) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the module's name
	if !d.AllArgs(&u.Service) {
		return d.ArgErr()
	}
	if d.NextBlock(0) {
		return d.Errf("unrecognized option %q; the source takes a service alone", d.Val())
	}
	return nil
}
