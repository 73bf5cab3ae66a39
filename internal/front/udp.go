package front

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/parachute-proxy/parachute/internal/packets"
)

// Caddy makes a server for QUIC by itself, and cannot be given another one. So its server gets a
// socket by which nothing arrives (udpHead), and believes that it serves HTTP/3: it offers that to
// clients (Alt-Svc). The real socket is a quicSocket.

// ServeHTTP3 has the fronts of this process serve HTTP/3, where a config has it for an address of
// NetworkTCP, NetworkTCP4 or NetworkTCP6. All servers with such addresses need a [Wrapper] then.
// It is to be called before a config is loaded.
func ServeHTTP3() { process.serveHTTP3.Store(true) }

// ServesHTTP3 reports whether ServeHTTP3 was called.
func ServesHTTP3() bool { return process.serveHTTP3.Load() }

// listenUDP is a [caddy.ListenerFunc] for the sockets of Caddy's servers for QUIC.
func (s *sockets) listenUDP(ctx context.Context, network, host, ports string, offset uint, cfg net.ListenConfig) (any, error) {
	a, err := parseAddress(network, host, ports, offset)
	if err != nil {
		return nil, err
	}
	if !s.serveHTTP3.Load() || a.port() == "0" {
		// Two sockets on any port have not the same one.
		plain, err := caddy.ParseNetworkAddress(caddy.JoinNetworkAddress(network, host, ports))
		if err != nil {
			return nil, err
		}
		return plain.Listen(ctx, offset, cfg)
	}
	return s.listenQUIC(ctx, a, cfg)
}

// listenQUIC returns a head of the socket with address a, which it opens if no config has.
func (s *sockets) listenQUIC(ctx context.Context, a address, cfg net.ListenConfig) (*udpHead, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.quic[a.key()]; known != nil {
		if known.addHead() {
			return newUDPHead(known), nil
		}
		<-known.done // so that it can be opened again
	}
	udp, err := s.inheritUDP(a)
	if udp == nil && err == nil {
		udp, err = s.bindUDP(ctx, a, cfg)
	}
	if err != nil {
		return nil, err
	}
	opened, err := s.openQUIC(a, udp)
	if err != nil {
		return nil, err
	}
	opened.addHead()
	return newUDPHead(opened), nil
}

// openQUIC returns what is new for a socket, which it takes over. s.mu must be held.
func (s *sockets) openQUIC(a address, udp *net.UDPConn) (*quicSocket, error) {
	secrets, err := s.ownSecrets()
	if err != nil {
		_ = udp.Close()
		return nil, err
	}
	issuer := packets.NewIssuer(secrets.IDs, secrets.Epoch)
	conn := packets.NewConn(udp, issuer)
	if err := s.inheritRelays(a, conn); err != nil {
		_ = conn.Close()
		return nil, err
	}
	opened, err := newQUICSocket(conn, connectionIDs{issuer}, secrets, &s.gate)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	if s.quic == nil {
		s.quic = make(map[string]*quicSocket)
	}
	s.quic[a.key()] = opened
	go func() {
		<-opened.done
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.quic[a.key()] == opened {
			delete(s.quic, a.key())
		}
	}()
	return opened, nil
}

// bindUDP opens a socket. s.mu must be held.
func (s *sockets) bindUDP(ctx context.Context, a address, cfg net.ListenConfig) (*net.UDPConn, error) {
	conn, err := cfg.ListenPacket(ctx, a.network, a.name)
	if err != nil && isInUse(err) {
		// As with TCP, it may overlap with another one of ours.
		if sharing := s.udpOnPortOf(a); len(sharing) > 0 && shareAddress(sharing) {
			cfg.Control = controlShareAddress
		}
		if again, failed := cfg.ListenPacket(ctx, a.network, a.name); failed == nil {
			conn, err = again, nil
		}
	}
	if err != nil {
		return nil, err
	}
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		_ = conn.Close()
		return nil, errors.ErrUnsupported
	}
	return udp, nil
}

// udpOnPortOf returns the open sockets that have the port of a, when those that are being closed
// are. s.mu must be held.
func (s *sockets) udpOnPortOf(a address) (all []syscall.Conn) {
	for _, other := range s.quic {
		if _, p, err := net.SplitHostPort(other.conn.LocalAddr().String()); err != nil || p != a.port() {
			continue
		}
		if other.closing() {
			<-other.done
			continue
		}
		all = append(all, other.conn)
	}
	return all
}

func (q *quicSocket) closing() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

// quicAt returns the socket for UDP that has an address for TCP, or nil.
func (s *sockets) quicAt(addr net.Addr) *quicSocket {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.quic {
		if q.conn.LocalAddr().String() == addr.String() && !q.closing() {
			return q
		}
	}
	return nil
}

// udpHead is what Caddy has of a quicSocket. Nothing arrives by it.
type udpHead struct {
	socket  *quicSocket
	closed  chan struct{}
	closing sync.Once
}

func newUDPHead(q *quicSocket) *udpHead { return &udpHead{socket: q, closed: make(chan struct{})} }

// ReadFrom implements [net.PacketConn], as do the methods below: it waits for Close.
func (h *udpHead) ReadFrom([]byte) (int, net.Addr, error) {
	<-h.closed
	return 0, nil, net.ErrClosed
}

// WriteTo sends nothing: there is nobody to answer.
func (h *udpHead) WriteTo(p []byte, _ net.Addr) (int, error) { return len(p), nil }

// LocalAddr returns the address of the socket, whose port Caddy offers.
func (h *udpHead) LocalAddr() net.Addr { return h.socket.conn.LocalAddr() }

// Close gives the head up.
func (h *udpHead) Close() error {
	h.closing.Do(func() {
		close(h.closed)
		h.socket.removeHead()
	})
	return nil
}

// SetReadBuffer does nothing, as the others: quic-go warns of a socket that has no such method.
func (h *udpHead) SetReadBuffer(int) error { return nil }

// SetWriteBuffer does nothing.
func (h *udpHead) SetWriteBuffer(int) error { return nil }

// SetDeadline does nothing.
func (h *udpHead) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (h *udpHead) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (h *udpHead) SetWriteDeadline(time.Time) error { return nil }
