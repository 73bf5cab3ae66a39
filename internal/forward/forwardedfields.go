package forward

import (
	"net/http"
	"net/netip"
	"strings"
)

// believed reports whether what the sender says of its client is for the target: the proxy
// trusts the sender, or the service every sender.
func (x *exchange) believed() bool { return x.from.Trusted || x.release.Spec.Options.ForwardHeaders }

// madeUp reports whether a field says something of the client that the sender is not believed.
// A service believes no more than what it names: of the other fields, only a trusted proxy's
// count.
func (x *exchange) madeUp(name string) bool {
	o := &x.release.Spec.Options
	if o.ClientIPHeader != "" {
		if name == o.ClientIPHeader {
			return !x.believed()
		}
		// A second name of the same field: see ambiguous.
		if strings.ContainsAny(name, "_.") && http.CanonicalHeaderKey(toDashes.Replace(name)) == o.ClientIPHeader {
			return true
		}
	}
	if x.from.Trusted || !speaksForOthers(name) {
		return false
	}
	switch name {
	case "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto":
		return !o.ForwardHeaders
	}
	return true
}

// namedClient returns the address of the client in the field that the service has for it;
// empty if there is none, or not exactly one, or if the sender is not believed.
func (x *exchange) namedClient() string {
	name := x.release.Spec.Options.ClientIPHeader
	if name == "" || !x.believed() {
		return ""
	}
	values := x.in.Header[name]
	if len(values) != 1 {
		return ""
	}
	value := strings.TrimSpace(values[0])
	if addr, err := netip.ParseAddr(value); err == nil {
		return addr.String()
	}
	if addr, err := netip.ParseAddrPort(value); err == nil {
		return addr.Addr().String()
	}
	return ""
}
