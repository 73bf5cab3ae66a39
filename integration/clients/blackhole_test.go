package clients

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parachute-proxy/parachute/internal/api"
)

// boundSocket returns a socket that has an address and does not listen on it.
func boundSocket(t *testing.T) (fd int, addr string) {
	t.Helper()
	fd, err := bind(0)
	must(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	name, err := unix.Getsockname(fd)
	must(t, err)
	return fd, fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
}

// refusingAddr returns an address that refuses connections, and that no other test
// gets meanwhile.
func refusingAddr(t *testing.T) string {
	t.Helper()
	_, addr := boundSocket(t)
	return addr
}

// blackHole returns an address that answers no SYN: its queue of connections is
// full, and nobody takes one out of it.
func blackHole(t *testing.T) string {
	t.Helper()
	fd, addr := boundSocket(t)
	must(t, unix.Listen(fd, 0))
	for range 20 {
		conn, err := net.DialTimeout("tcp", addr, 300*time.Millisecond)
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			return addr
		}
		must(t, err)
		t.Cleanup(func() { conn.Close() })
	}
	t.Skip("skipped: this system's queues for connections do not fill up")
	panic("unreachable")
}

// dialTimeout is what the proxy gives a connection to come about.
const dialTimeout = 5 * time.Second

// Trap 23: an address that swallows packets costs a client a bounded time, and the
// answer says that it was time that ran out. To hold the request may double it.
func TestBlackHoleGives504WithinItsBound(t *testing.T) {
	t.Parallel()
	const slack = 3 * time.Second
	addr := blackHole(t)
	for name, hold := range map[string]time.Duration{"not held": 0, "held": dialTimeout} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			t.Run(name+", "+method, func(t *testing.T) {
				t.Parallel()
				eachProtocol(t, func(t *testing.T, protocol string) {
					x := newSiteWith(t, plain.Get(t), api.DeployRequest{Targets: []string{addr}, Force: true, HoldTimeout: duration(hold)})
					c := x.client(t, protocol)
					begin := time.Now()
					a, err := c.ask(c.request(t, method, "/", strings.NewReader("body")))
					must(t, err)
					took := time.Since(begin)
					if a.StatusCode != http.StatusGatewayTimeout || took > dialTimeout+hold+slack {
						t.Errorf("%s %q after %s", a.Status, a.body, took)
					}
				})
			})
		}
	}
}

// Beside a target that answers, a black hole costs a request no more than that
// time, and soon nothing.
func TestBlackHoleBesideAHealthyTargetFailsNoRequest(t *testing.T) {
	t.Parallel()
	x := newSiteWith(t, plain.Get(t), api.DeployRequest{
		Targets: []string{blackHole(t), startApp(t, named("fine")).addr()}, Force: true,
		// Long enough for the target that answers, on a machine that is busy: were both
		// failing, the proxy would ask either.
		HealthCheckInterval: duration(50 * time.Millisecond), HealthCheckTimeout: duration(3 * time.Second),
	})
	c := x.client(t, h2)
	for i := range 4 {
		if a := c.get(t, "/"); a.body != "fine" {
			t.Errorf("GET %d: %s %q", i+1, a.Status, a.body)
		}
	}
	waitFor(t, "the black hole to leave the rotation", func() bool {
		return x.status(t).Active.Targets[0].Health == api.HealthFailing
	})
	for i := range 20 {
		begin := time.Now()
		if a := c.get(t, "/"); a.body != "fine" || time.Since(begin) >= dialTimeout {
			t.Errorf("GET %d beside a target that is known to be dead: %s %q after %s", i+1, a.Status, a.body, time.Since(begin))
		}
	}
}

// A connection that is refused is not a matter of time: 502.
func TestRefusedConnectionGives502(t *testing.T) {
	t.Parallel()
	addr := refusingAddr(t)
	eachProtocol(t, func(t *testing.T, protocol string) {
		x := newSiteWith(t, plain.Get(t), api.DeployRequest{
			Targets: []string{addr}, Force: true, HoldTimeout: duration(100 * time.Millisecond),
		})
		if a := x.client(t, protocol).get(t, "/"); a.StatusCode != http.StatusBadGateway {
			t.Errorf("%s %q", a.Status, a.body)
		}
	})
}
