package forward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http/httptrace"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

const (
	// lookupTimeout bounds the look-up of a name whose last address is known.
	lookupTimeout = 2 * time.Second
	// outageTimeout is that while the resolver is known to be out of order. Probes go on
	// to give it lookupTimeout, so that one that is merely slow is noticed to be back.
	outageTimeout = 250 * time.Millisecond
)

// targetDialer connects to one target and nowhere else: through no proxy from the
// environment, to no address from a request.
type targetDialer struct {
	upstream *upstream
	// target is that of upstream, perhaps with another port.
	target api.Target
	// watches says that the dials are those of probes, which nobody waits for.
	watches bool
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

func addressOf(conn net.Conn) netip.Addr {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
