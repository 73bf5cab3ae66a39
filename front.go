package parachute

import (
	"encoding/json"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/front"
)

// fronts have the connections of clients, whatever config they came by.
var fronts front.Fronts

// Front is a listener wrapper that keeps the connections of clients over reloads: they
// belong to the process, and each request on them goes to the newest config. It is the last of
// the wrappers of a server.
//
// A reload loses nothing if the sockets are kept as well. The networks parachute,
// parachute4, parachute6 and unix+parachute do that, in place of tcp, tcp4, tcp6 and unix.
// `parachute run` uses both for all servers.
//
// When a config has other timeouts, protocols or TLS connection policies than the one before,
// the connections that were made by the old ones are asked to end, which loses no request.
type Front struct {
	// Edge has connections over HTTP/1.1 served by a server of parachute's own in the place of
	// net/http's, if they come through the wrapper "parachute". Default: false.
	Edge bool `json:"edge,omitempty"`

	app     *App
	wrapper *front.Wrapper
}

// CaddyModule returns the Caddy module information.
func (*Front) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.listeners.parachute_front", New: func() caddy.Module { return new(Front) }}
}

// Provision implements [caddy.Provisioner].
func (f *Front) Provision(ctx caddy.Context) error {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return errors.New("it wraps the listeners of servers of the HTTP app alone")
	}
	app, err := ctx.App("parachute")
	if err != nil {
		return err
	}
	f.app = app.(*App)
	policies, err := json.Marshal(server.TLSConnPolicies)
	if err != nil {
		return err
	}
	logger := ctx.Logger()
	f.wrapper = &front.Wrapper{
		Config:   f.app.fronts,
		Settings: string(policies),
		Edge:     f.Edge,
		Secure:   func(l net.Listener) bool { return f.app.servesTLS(server, l.Addr()) },
		Handler:  server,
		HTTP3: func(l net.Listener) *front.HTTP3 {
			if !f.app.servesHTTP3(server, l.Addr()) {
				return nil
			}
			return &front.HTTP3{
				TLS:       server.TLSConnPolicies.TLSConfig(ctx),
				Allow0RTT: server.Allow0RTT == nil || *server.Allow0RTT,
			}
		},
		Exiting: caddy.Exiting,
		Grace:   f.app.httpGracePeriod,
		Cut: func(connections int) {
			logger.Warn("connections were cut, because the grace period is over", zap.Int("connections", connections))
		},
	}
	server.RegisterConnContext(f.wrapper.ConnContext)
	return nil
}

// WrapListener implements [caddy.ListenerWrapper].
func (f *Front) WrapListener(l net.Listener) net.Listener {
	f.app.takeShutdownDelay()
	return f.wrapper.Wrap(l)
}

// UnmarshalCaddyfile parses the wrapper in the option servers:
//
//	listener_wrappers {
//		tls
//		parachute_front {
//			edge
//		}
//	}
func (f *Front) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the wrapper's name
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		if d.Val() != "edge" {
			return d.Errf("unrecognized option %q", d.Val())
		}
		if d.NextArg() {
			return d.ArgErr()
		}
		f.Edge = true
	}
	return nil
}

// httpApp returns Caddy's HTTP app of the config, or nil if there is none.
func (a *App) httpApp() *caddyhttp.App {
	app, err := a.ctx.AppIfConfigured("http")
	if err != nil {
		return nil
	}
	return app.(*caddyhttp.App)
}

// servesTLS reports whether server serves TLS on an address, as Caddy decides it: on all
// but the port for HTTP, if it has policies.
func (a *App) servesTLS(server *caddyhttp.Server, addr net.Addr) bool {
	port := caddyhttp.DefaultHTTPPort
	if app := a.httpApp(); app != nil && app.HTTPPort != 0 {
		port = app.HTTPPort
	}
	tcp, ok := addr.(*net.TCPAddr)
	return len(server.TLSConnPolicies) > 0 && (!ok || tcp.Port != port)
}

// servesHTTP3 reports whether a front serves HTTP/3 for server on an address, because Caddy's own
// server for it has a socket by which nothing arrives.
func (a *App) servesHTTP3(server *caddyhttp.Server, addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !front.ServesHTTP3() || !a.servesTLS(server, addr) {
		return false
	}
	for i, address := range server.Listen {
		listen, err := caddy.ParseNetworkAddress(address)
		if err != nil || !front.IsShared(listen.Network) || !listensAt(listen, tcp) {
			continue
		}
		protocols := server.Protocols
		if i < len(server.ListenProtocols) && server.ListenProtocols[i] != nil {
			protocols = server.ListenProtocols[i]
		}
		if slices.Contains(protocols, "h3") {
			return true
		}
	}
	return false
}

// listensAt reports whether a listen address is one for TCP.
func listensAt(listen caddy.NetworkAddress, tcp *net.TCPAddr) bool {
	if port := uint(tcp.Port); port < listen.StartPort || port > listen.EndPort {
		return false
	}
	ip := net.ParseIP(listen.Host)
	switch {
	case listen.Host == "":
		return tcp.IP.IsUnspecified()
	case ip == nil: // a name
		return true
	default:
		return ip.Equal(tcp.IP)
	}
}

// httpGracePeriod returns how long servers may take to shut down; 0 is for ever.
func (a *App) httpGracePeriod() time.Duration {
	if app := a.httpApp(); app != nil {
		return time.Duration(app.GracePeriod)
	}
	return 0
}
