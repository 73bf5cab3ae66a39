package forward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http/httptrace"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// lookupTimeout bounds the look-up of a name whose last address is known.
	lookupTimeout = 2 * time.Second
	// outageTimeout is that while the resolver is known to be out of order. Probes go on
	// to give it lookupTimeout, so that one that is merely slow is noticed to be back.
	outageTimeout = 250 * time.Millisecond
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

// resolved notes that the target is at addr, and tells if that could not be known before.
func (u *upstream) resolved(addr netip.Addr) {
	if u.name.resolved(addr) {
		u.tellLookup(addr, nil)
	}
}

// tellLookup tells of the newest release that look-ups begin to fail, with the error, or
// that the name resolves again.
func (u *upstream) tellLookup(last netip.Addr, err error) {
	r := u.monitor.release()
	r.forwarder.opts.LookupFailing(r, u.target, last, err)
}

// isLookupOutage reports whether err says that the resolver is out of order, and not that
// there is no such name.
func isLookupOutage(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && !dns.IsNotFound
}

// netDialer returns what makes the connections. Those of probes are few: they may use
// descriptors that are kept from traffic.
func (d *targetDialer) netDialer() *net.Dialer {
	f := d.upstream.monitor.release().forwarder
	if d.watches {
		return f.probeDialer
	}
	return f.dialer
}

// attempt makes one attempt to connect, with a fresh look-up of the name. If the resolver
// is out of order, it tries the last good address.
func (d *targetDialer) attempt(ctx context.Context) (net.Conn, error) {
	t, u, dialer := d.target, d.upstream, d.netDialer()
	switch {
	case u.name == nil:
		return dialer.DialContext(ctx, t.Network, t.Address)
	case t.Network == "unix":
		return d.attemptSocket(ctx, dialer)
	}
	last, out := u.name.known()
	if !last.IsValid() {
		conn, err := dialer.DialContext(ctx, t.Network, t.Address)
		if err == nil {
			u.resolved(addressOf(conn))
		}
		return conn, err
	}
	wait := lookupTimeout
	if out && !d.watches {
		wait = outageTimeout
	}
	looking, giveUp := context.WithCancel(ctx)
	defer giveUp()
	slow := time.AfterFunc(wait, giveUp)
	defer slow.Stop()
	conn, err := dialer.DialContext(httptrace.WithClientTrace(looking, &httptrace.ClientTrace{
		DNSDone: func(info httptrace.DNSDoneInfo) {
			slow.Stop()
			if info.Err != nil {
				return
			}
			at := last
			if !slices.ContainsFunc(info.Addrs, func(a net.IPAddr) bool { return a.IP.Equal(last.AsSlice()) }) {
				at = netip.Addr{} // it is elsewhere now, whether it can be reached there or not
			}
			u.resolved(at)
		},
	}), t.Network, t.Address)
	switch dns, failed := errors.AsType[*net.DNSError](err); {
	case err == nil:
		u.resolved(addressOf(conn))
		return conn, nil
	case !failed || ctx.Err() != nil:
		return nil, err
	case dns.IsNotFound:
		u.resolved(netip.Addr{})
		return nil, err
	}
	host, port, _ := net.SplitHostPort(t.Address)
	if looking.Err() != nil {
		err = &net.DNSError{Err: "no answer", Name: host, IsTimeout: true}
	}
	if u.name.unresolved() {
		u.tellLookup(last, err)
	}
	conn, dialErr := dialer.DialContext(ctx, t.Network, net.JoinHostPort(last.String(), port))
	if dialErr != nil {
		return nil, fmt.Errorf("%w; at its last address: %w", err, dialErr)
	}
	return conn, nil
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

func addressOf(conn net.Conn) netip.Addr {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
