package front

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/parachute-proxy/parachute/internal/packets"
)

// Each packet is read by one process alone. So, unlike a socket for TCP, one for QUIC does not come
// alone: with it come the relays by which the next process sends what belongs to this one, and to
// those before.

// relayPrefix begins the names of relays: relay/EPOCH/SOCKET.
const relayPrefix = "relay/"

func relayName(epoch byte, socket string) string {
	return fmt.Sprintf("%s%d/%s", relayPrefix, epoch, socket)
}

// relayEpoch returns the epoch in the name of a relay of a socket.
func relayEpoch(name, socket string) (epoch byte, ok bool) {
	rest, ok := strings.CutPrefix(name, relayPrefix)
	number, of, found := strings.Cut(rest, "/")
	n, err := strconv.ParseUint(number, 10, 8)
	return byte(n), ok && found && err == nil && of == socket
}

// Relays returns what the next process needs of the sockets for QUIC, besides themselves. Those that
// were returned before are of no use any more.
func Relays() ([]Socket, error) { return process.relays() }

func (s *sockets) relays() (all []Socket, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, q := range s.quic {
		if q.closing() {
			continue
		}
		relays, err := q.conn.Relays()
		if err != nil {
			return nil, err
		}
		for epoch, conn := range relays {
			all = append(all, Socket{relayName(epoch, key), conn})
		}
	}
	return all, nil
}

// inheritUDP returns the socket of another process for an address, or nil. s.mu must be held.
func (s *sockets) inheritUDP(a address) (*net.UDPConn, error) {
	f := s.inherited[a.key()]
	if f == nil {
		return nil, nil
	}
	delete(s.inherited, a.key())
	defer f.Close()
	conn, err := net.FilePacketConn(f)
	if err != nil {
		return nil, fmt.Errorf("using the socket of the process before: %w", err)
	}
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		_ = conn.Close()
		return nil, fmt.Errorf("the socket of the process before is none for %s", a.network)
	}
	return udp, nil
}

// adoptQUIC has the sockets that no config has wanted read for as long as processes before this one
// have connections by them: they read no more. Who wants to begin a connection is refused. s.mu must be
// held.
func (s *sockets) adoptQUIC() {
	for name := range s.inherited {
		network, at, _ := strings.Cut(name, "/")
		if !isUDP(name) || !s.hasRelays(name) {
			continue
		}
		a := address{network, at, 0}
		udp, err := s.inheritUDP(a)
		if err != nil {
			continue // and their clients notice that after their timeout
		}
		if q, err := s.openQUIC(a, udp); err == nil {
			q.begin()
		}
	}
}

// hasRelays reports whether there are relays of a socket. s.mu must be held.
func (s *sockets) hasRelays(socket string) bool {
	for name := range s.inherited {
		if _, ok := relayEpoch(name, socket); ok {
			return true
		}
	}
	return false
}

// inheritRelays gives conn the relays to the processes before. s.mu must be held.
func (s *sockets) inheritRelays(a address, conn *packets.Conn) error {
	for name, f := range s.inherited {
		epoch, ok := relayEpoch(name, a.key())
		if !ok {
			continue
		}
		delete(s.inherited, name)
		if err := conn.Inherit(epoch, f); err != nil {
			return fmt.Errorf("using a relay of the process before: %w", err)
		}
	}
	return nil
}
