package forward

import (
	"errors"
	"net"
	"net/netip"
	"sync"
)

// targetName is what is known of the name of a target: its last good address, at which
// the target is looked for while the resolver is out of order. A target that has an
// address and no name has none of this.
type targetName struct {
	// mu guards what follows.
	mu sync.Mutex
	// last is the address of the last connection; invalid if there is none.
	last netip.Addr
	// out says that the last look-up failed.
	out bool
	// first is where the first connection led, and moved says that the target was not there
	// any more since.
	first place
	moved bool
}

func (n *targetName) known() (last netip.Addr, out bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last, n.out
}

// resolved notes that the resolver works, and that the target is at addr; if that is not
// valid, it is not known where. It reports whether the name could not be looked up before.
func (n *targetName) resolved(addr netip.Addr) (news bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	news = n.out
	n.last, n.out = addr, false
	n.leads(place{addr: addr})
	return news
}

// unresolved notes that the resolver is out of order, and reports whether that is news.
func (n *targetName) unresolved() (news bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	news = !n.out
	n.out = true
	return news
}

// isLookupOutage reports whether err says that the resolver is out of order, and not that
// there is no such name.
func isLookupOutage(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && !dns.IsNotFound
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
