package forward

import (
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

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}
