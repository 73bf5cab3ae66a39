package client

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// errNoListener is returned for a port that nobody listens on any more.
var errNoListener = errors.New("no program listens there")

// listenerOwner returns the user id of the program that listens on addr, as the kernel
// has it (proc(5), /proc/net/tcp).
func listenerOwner(addr netip.AddrPort) (uid int, err error) {
	addr = netip.AddrPortFrom(addr.Addr().Unmap().WithZone(""), addr.Port())
	var exact, wildcard []int
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue // there is no IPv6
		}
		if err != nil {
			return 0, err
		}
		for _, l := range parseListeners(text) {
			switch {
			case l.addr.Port() != addr.Port():
			case l.addr.Addr().Unmap() == addr.Addr():
				exact = append(exact, l.uid)
			case l.addr.Addr().IsUnspecified():
				wildcard = append(wildcard, l.uid)
			}
		}
	}
	// The kernel prefers a listener on the very address. Several share a port only if they
	// are one user's, but one on 0.0.0.0 and one on :: may be two users'.
	for _, owners := range [][]int{exact, wildcard} {
		if len(owners) == 0 {
			continue
		}
		for _, owner := range owners[1:] {
			if owner != owners[0] {
				return 0, fmt.Errorf("several users listen there")
			}
		}
		return owners[0], nil
	}
	return 0, errNoListener
}

// listener is a TCP socket that listens.
type listener struct {
	addr netip.AddrPort
	uid  int
}

// parseListeners reads the sockets that listen out of /proc/net/tcp or tcp6.
func parseListeners(text []byte) (all []listener) {
	const listening = "0A" // TCP_LISTEN in the kernel's tcp_states.h
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		// sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid
		fields := strings.Fields(lines.Text())
		if len(fields) < 8 || fields[3] != listening {
			continue
		}
		addr, err := parseKernelAddress(fields[1])
		uid, uidErr := strconv.Atoi(fields[7])
		if err == nil && uidErr == nil {
			all = append(all, listener{addr, uid})
		}
	}
	return all
}

// parseKernelAddress parses an address such as 0100007F:07E3: words of 32 bits in the
// machine's order of bytes, and a port.
func parseKernelAddress(s string) (netip.AddrPort, error) {
	host, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	if err != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, fmt.Errorf("%q is not an address", s)
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	n, err := strconv.ParseUint(port, 16, 16)
	addr, ok := netip.AddrFromSlice(b)
	if err != nil || !ok {
		return netip.AddrPort{}, fmt.Errorf("%q is not an address", s)
	}
	return netip.AddrPortFrom(addr, uint16(n)), nil
}
