package http1

import (
	"bytes"
	"net/netip"
)

// authority is where a request is for: uri-host and port of RFC 3986, section 3.2. Both point into the
// bytes that were parsed.
type authority struct {
	// host is empty if there is none. An address of IPv6 has its brackets.
	host []byte
	// port is nil if there is no colon, and may be empty behind one.
	port []byte
}

// parseAuthority takes host and port apart. ok is false if b is not of their form. What comes before an @ is
// refused: nothing in HTTP needs a name and a password there, and they deceive people about the host
// (RFC 9110, section 4.2.4).
func parseAuthority(b []byte) (a authority, ok bool) {
	end := skip(b, 0, hostByte)
	if len(b) > 0 && b[0] == '[' {
		end = bytes.IndexByte(b, ']') + 1
		if end == 0 || !ipv6(b[1:end-1]) {
			return authority{}, false
		}
	} else if !escapes(b[:end]) {
		return authority{}, false
	}
	a.host = b[:end]
	if end == len(b) {
		return a, true
	}
	a.port = b[end+1:]
	if b[end] != ':' {
		return authority{}, false
	}
	for _, c := range a.port {
		if c < '0' || c > '9' {
			return authority{}, false
		}
	}
	return a, true
}

// ipv6 reports whether b is an address of IPv6. One with a zone is not: that means something only on the
// machine that wrote it (RFC 9844, section 6). The literals of later versions are not known to anybody
// (RFC 3986, section 3.2.2).
func ipv6(b []byte) bool {
	const longest = len("0000:0000:0000:0000:0000:0000:255.255.255.255")
	if len(b) > longest {
		return false
	}
	address, err := netip.ParseAddr(string(b))
	return err == nil && address.Is6() && address.Zone() == ""
}

// escapes reports whether each percent sign of b has two hexadecimal digits behind it.
func escapes(b []byte) bool {
	for {
		i := bytes.IndexByte(b, '%')
		if i < 0 {
			return true
		}
		if i+2 >= len(b) || !hexadecimal(b[i+1]) || !hexadecimal(b[i+2]) {
			return false
		}
		b = b[i+3:]
	}
}

func hexadecimal(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
