package clientconn

import "net"

// NewListener returns l with connections that are cheaper to serve.
func NewListener(l net.Listener) net.Listener { return listener{l} }

type listener struct{ net.Listener }

// Accept returns a Conn, or, if it is not over TCP, the connection as it is.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if socket, ok := c.(*net.TCPConn); ok && err == nil {
		return newConn(socket), nil
	}
	return c, err
}
