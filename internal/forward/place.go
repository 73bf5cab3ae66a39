package forward

import (
	"context"
	"net"
	"net/netip"
	"os"

	"github.com/parachute-proxy/parachute/internal/api"
)

// place is where a connection leads: the address behind a name, or the file of a Unix
// socket. A target that is an address is always at the same place, and has none of this.
type place struct {
	addr netip.Addr
	file os.FileInfo
}

func (p place) known() bool { return p.addr.IsValid() || p.file != nil }

func (p place) is(other place) bool {
	return p.addr == other.addr && (p.file == nil && other.file == nil || os.SameFile(p.file, other.file))
}

// mayMove reports whether a target is not always at the same place.
func mayMove(t api.Target) bool {
	host, _, err := net.SplitHostPort(t.Address)
	return t.Network == "unix" || err == nil && !isAddress(host)
}

// leads notes where the target is now; that is not known if there is no such name any more.
// mu must be held.
func (n *targetName) leads(to place) {
	if !n.first.known() {
		n.first = to
		return
	}
	n.moved = n.moved || !to.is(n.first)
}

// stayed reports whether every connection of n leads to where newer, of the same target,
// has found it. Where nothing is known, nothing speaks against it.
func (n *targetName) stayed(newer *targetName) bool {
	newer.mu.Lock()
	now, moved := newer.first, newer.moved
	newer.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	return !moved && !n.moved && (!now.known() || !n.first.known() || now.is(n.first))
}

// attemptSocket makes one attempt to connect to a Unix socket.
func (d *targetDialer) attemptSocket(ctx context.Context, dialer *net.Dialer) (net.Conn, error) {
	file, _ := os.Stat(d.target.Address)
	conn, err := dialer.DialContext(ctx, d.target.Network, d.target.Address)
	if err == nil {
		name := d.upstream.name
		name.mu.Lock()
		name.leads(place{file: file})
		name.mu.Unlock()
	}
	return conn, err
}
