package packets

import (
	"errors"
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
)

// A packet goes through a relay as it has arrived, with what the system has told of it:
//
//	length of the address (1 byte) | address | length of the control data (1 byte) | control data | packet
//
// Control data (cmsg(3)) tell to which of our addresses it was sent, and the bits for congestion (ECN).

var errNoFrame = errors.New("what has come by a relay is no packet")

// appendFrame appends a packet that has been read.
func appendFrame(b []byte, m *ipv4.Message) ([]byte, error) {
	from, ok := m.Addr.(*net.UDPAddr)
	if !ok || m.NN > 255 {
		return b, errNoFrame
	}
	address, err := from.AddrPort().MarshalBinary()
	if err != nil || len(address) > 255 {
		return b, errNoFrame
	}
	b = append(b, byte(len(address)))
	b = append(b, address...)
	b = append(b, byte(m.NN))
	b = append(b, m.OOB[:m.NN]...)
	return append(b, m.Buffers[0][:m.N]...), nil
}

// readFrame makes m the packet that appendFrame has appended.
func readFrame(b []byte, m *ipv4.Message) error {
	address, b, ok := field(b)
	if !ok {
		return errNoFrame
	}
	control, packet, ok := field(b)
	if !ok || len(control) > len(m.OOB) || len(packet) > len(m.Buffers[0]) {
		return errNoFrame
	}
	var from netip.AddrPort
	if err := from.UnmarshalBinary(address); err != nil {
		return err
	}
	m.Addr = net.UDPAddrFromAddrPort(from)
	m.NN = copy(m.OOB, control)
	m.N = copy(m.Buffers[0], packet)
	return nil
}

// field returns what a byte with its length is before.
func field(b []byte) (value, rest []byte, ok bool) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return nil, nil, false
	}
	return b[1 : 1+int(b[0])], b[1+int(b[0]):], true
}
