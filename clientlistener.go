package parachute

import (
	"net"

	"github.com/caddyserver/caddy/v2"
)

// ClientListener is a listener wrapper that makes the connections of clients cheaper
// to serve (clientConn says how). It has no settings. It goes before the wrapper
// "tls", since it is about sockets, and belongs to servers whose routes lead to
// nothing but the handler "parachute": others would not be told for some requests
// that the client goes away.
type ClientListener struct{}

// CaddyModule returns the Caddy module information.
func (ClientListener) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.listeners.parachute", New: func() caddy.Module { return new(ClientListener) }}
}

// WrapListener implements [caddy.ListenerWrapper].
func (*ClientListener) WrapListener(l net.Listener) net.Listener { return clientListener{l} }

type clientListener struct{ net.Listener }

// Accept returns a clientConn, or, if it is not over TCP, the connection as it is.
func (l clientListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if socket, ok := c.(*net.TCPConn); ok && err == nil {
		return newClientConn(socket), nil
	}
	return c, err
}
