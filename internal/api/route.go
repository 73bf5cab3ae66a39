package api

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// Route is what a service claims: one host and one path prefix.
type Route struct {
	// Host is a normalised host name, "*.example.com" for every name one label
	// below example.com, or empty for every host that nobody else claims.
	Host string `json:"host"`
	// Prefix is a path prefix that ends on a segment border: "/" or "/api".
	Prefix string `json:"path_prefix"`
}

func (r Route) String() string {
	if r.Host == "" {
		return "*" + r.Prefix
	}
	return r.Host + r.Prefix
}

// maxPrefix bounds the length of a path prefix in bytes.
const maxPrefix = 256

// hostProfile maps names as browsers do before they put them on the wire
// (UTS #46, non-transitional), so that what is typed here is what arrives.
var hostProfile = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

// NormalizeHost returns host as it is compared with the Host of requests: in
// lower case, in its ASCII form, without a trailing dot. It refuses what could
// never match, such as a host with a port.
func NormalizeHost(host string) (string, error) {
	name, wildcard := strings.CutPrefix(host, "*.")
	switch {
	case host == "":
		return "", Invalid("a host is empty; leave %s out to serve every host", Field("hosts"))
	case host == "*":
		return "", Invalid("host %q is not needed: leave %s out to serve every host that no other service claims", host, Field("hosts"))
	case strings.Contains(name, "://"):
		return "", fmt.Errorf("host %q has a scheme; write only the name", host)
	case strings.Contains(name, "/"):
		return "", Invalid("host %q has a path; write only the name, and the path with %s", host, Field("path_prefixes"))
	case strings.Contains(name, "*"):
		return "", fmt.Errorf("host %q has a wildcard in the wrong place; a wildcard is the whole first label, as in *.example.com", host)
	}
	if addr, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil && !wildcard {
		return addr.WithZone("").String(), nil
	}
	if strings.Contains(name, ":") {
		return "", fmt.Errorf("host %q has a port; hosts are matched on every port, so write only the name", host)
	}
	ascii, err := hostProfile.ToASCII(name)
	// The profile turns dots of other scripts into ours, a trailing one too.
	ascii = strings.TrimSuffix(ascii, ".")
	// What it would not take back, such as the encoding of bytes that are no
	// text, no client sends.
	again, errAgain := hostProfile.ToASCII(ascii)
	if err != nil || errAgain != nil || again != ascii || strings.HasSuffix(ascii, ".") || checkTargetHost(ascii) != nil {
		return "", fmt.Errorf("host %q is not a host name", host)
	}
	if wildcard {
		return "*." + ascii, nil
	}
	return ascii, nil
}

// NormalizePrefix returns prefix without trailing slashes, or "/" for the root.
func NormalizePrefix(prefix string) (string, error) {
	trimmed := strings.TrimRight(prefix, "/")
	switch {
	case !strings.HasPrefix(prefix, "/"):
		return "", fmt.Errorf("path prefix %q does not begin with a slash; write it as /%s", prefix, trimmed)
	case trimmed == "":
		return "/", nil
	case len(trimmed) > maxPrefix:
		return "", fmt.Errorf("path prefix %.20q... is longer than %d characters", prefix, maxPrefix)
	case strings.Trim(trimmed, prefixChars) != "":
		return "", fmt.Errorf("path prefix %q has a character that is not allowed in a path prefix; use letters, digits and -._~!$&'()*+,;=:@", prefix)
	}
	for segment := range strings.SplitSeq(trimmed[1:], "/") {
		if segment == "" || segment == "." || segment == ".." {
			return "", fmt.Errorf("path prefix %q has the segment %q, which clients never send", prefix, segment)
		}
	}
	return trimmed, nil
}

// prefixChars are the characters of a path segment (RFC 3986, section 3.3) but
// for percent-encodings, whose many spellings would make prefixes ambiguous.
const prefixChars = labelChars + ".~!$&'()*+,;=:@/"

// RoutesOf returns every pair of the given hosts and prefixes; no host means
// every host, no prefix means the root.
func RoutesOf(hosts, prefixes []string) []Route {
	if len(hosts) == 0 {
		hosts = []string{""}
	}
	if len(prefixes) == 0 {
		prefixes = []string{"/"}
	}
	routes := make([]Route, 0, len(hosts)*len(prefixes))
	for _, host := range hosts {
		for _, prefix := range prefixes {
			routes = append(routes, Route{Host: host, Prefix: prefix})
		}
	}
	return routes
}
