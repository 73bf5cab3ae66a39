package parachute

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/clientconn"
	"github.com/parachute-proxy/parachute/internal/descriptors"
)

// ClientListener is a listener wrapper that makes the connections of clients cheaper
// to serve. It has no settings. It goes before the wrapper
// "tls", since it is about sockets, and belongs to servers whose routes lead to
// nothing but the handler "parachute": others would not be told for some requests
// that the client goes away. It leaves the last file descriptors of the process to the
// admin endpoint.
type ClientListener struct {
	logger *zap.Logger
	// warned is when it was last logged that there are none left, as a Unix time.
	warned atomic.Int64
}

// CaddyModule returns the Caddy module information.
func (*ClientListener) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.listeners.parachute", New: func() caddy.Module { return new(ClientListener) }}
}

// Provision implements [caddy.Provisioner].
func (l *ClientListener) Provision(ctx caddy.Context) error {
	l.logger = ctx.Logger()
	return nil
}

// WrapListener implements [caddy.ListenerWrapper].
func (l *ClientListener) WrapListener(ln net.Listener) net.Listener {
	return clientconn.NewListener(descriptors.NewListener(ln, l.warn))
}

// warn logs, once a minute, that a connection has to wait for a descriptor.
func (l *ClientListener) warn() {
	now, before := time.Now().Unix(), l.warned.Load()
	if now-before >= 60 && l.warned.CompareAndSwap(before, now) {
		l.logger.Warn("there are no file descriptors left for connections: new ones wait; raise the limit (ulimit -n, LimitNOFILE)")
	}
}
