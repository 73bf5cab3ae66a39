package forward

import (
	"net/netip"
	"testing"
)

// TestTargetHasStayedIfAllConnectionsLeadToOnePlace and that is the one where it is now.
func TestTargetHasStayedIfAllConnectionsLeadToOnePlace(t *testing.T) {
	a, b, gone := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.Addr{}
	for _, tt := range []struct {
		before, now []netip.Addr
		want        bool
	}{
		{[]netip.Addr{a, a}, []netip.Addr{a}, true},
		{[]netip.Addr{a}, []netip.Addr{b}, false},
		{[]netip.Addr{a, b, a}, []netip.Addr{a}, false}, // one leads to b
		{[]netip.Addr{a, b}, []netip.Addr{b}, false},
		{[]netip.Addr{a, gone, a}, []netip.Addr{a}, false}, // perhaps another one got the address
		{[]netip.Addr{a}, []netip.Addr{a, b}, false},       // a name of several
		{[]netip.Addr{a}, nil, true},                       // nobody has asked
		{nil, []netip.Addr{a}, true},
		{[]netip.Addr{gone, a}, []netip.Addr{gone, a}, true}, // the name was late
	} {
		name := func(led []netip.Addr) *targetName {
			n := new(targetName)
			for _, to := range led {
				n.resolved(to)
			}
			return n
		}
		if got := name(tt.before).stayed(name(tt.now)); got != tt.want {
			t.Errorf("connections to %v, now at %v: it has stayed: %t", tt.before, tt.now, got)
		}
	}
}
