package front

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// Caddy has an HTTP server of its own for each config's admin endpoint, and nobody can wrap
// its listener or its connections. So the network does for it what a [Wrapper] does for other
// servers: the one connection that the server gets makes a request to a handler of ours, which
// is shown the server ([Introduced]).

// adminFronts have the connections to admin endpoints. They have no time to leave by
// themselves: the proxy's own commands would be all who have to be waited for.
var adminFronts = Fronts{atOnce: true}

// adminGrace is how long calls of an admin endpoint may take when the process exits: as long
// as Caddy would wait for them.
const adminGrace = 10 * time.Second

// introductionPath is the path of the request of an introduction, which Introduced has to be
// asked about.
const introductionPath = "/parachute/introduction"

// Introduced reports whether r is not a client's request, but one that introduces the server
// that serves it. There is no answer to it then.
func Introduced(r *http.Request) bool {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(introductionAddr)
	if !ok {
		return false
	}
	if std, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok {
		addr.of.std.Store(std)
		addr.of.meet()
	}
	return true
}

// adminListener is what Caddy's admin server listens on.
type adminListener struct {
	net.Listener // a head
	guest        *introduction
	introduced   atomic.Bool
	closing      sync.Once
	// closed is closed by Close, over when no connection comes any more, and unknown if the
	// server could not be introduced. It gets the connections itself then.
	closed, over, unknown chan struct{}
}

// listenAdmin returns a listener for an admin server.
func (s *sockets) listenAdmin(ctx context.Context, a address, cfg net.ListenConfig) (net.Listener, error) {
	head, err := s.listen(ctx, a, cfg)
	if err != nil {
		return nil, err
	}
	host := a.name // which Caddy compares with its address
	if a.isUnix() {
		host = "localhost"
	}
	l := &adminListener{
		Listener: head, guest: newIntroduction(head.Addr(), fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", introductionPath, host)),
		closed: make(chan struct{}), over: make(chan struct{}), unknown: make(chan struct{}),
	}
	// Caddy stops the server before this one while we are still being introduced.
	go l.serve(adminFronts.expect(head.Addr()))
	return l, nil
}

// Accept implements [net.Listener]. When the process exits, it lasts until all calls have
// been answered.
func (l *adminListener) Accept() (net.Conn, error) {
	if l.introduced.CompareAndSwap(false, true) {
		return l.guest, nil
	}
	select {
	case <-l.unknown:
		return l.Listener.Accept()
	case <-l.closed:
	}
	if caddy.Exiting() {
		<-l.over
		adminFronts.wait(adminGrace)
	}
	return nil, net.ErrClosed
}

// Close implements [net.Listener].
func (l *adminListener) Close() error {
	l.closing.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

func (l *adminListener) serve(arrived func()) {
	defer close(l.over)
	expected := sync.OnceFunc(arrived)
	defer expected()
	select {
	case <-l.guest.met:
	case <-l.guest.ended:
		select {
		case <-l.guest.met:
		default:
			close(l.unknown)
			return
		}
	case <-l.closed:
		return
	}
	e := &entry{std: l.guest.std.Load()}
	e.front = adminFronts.join(l.Addr(), e)
	defer adminFronts.leave(e, 0)
	expected()
	e.acceptFrom(l.Listener, l.closed)
}
