package clientconn

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/parachute-proxy/parachute/internal/sockio"
)

// Conn is the connection to a client. It remembers what Caddy has said of the
// client (fastpath.go), lets a client that has been answered send on for a moment
// (linger.go), and saves two things that net/http's server asks for with every
// request, and that are seldom needed.
//
// The server moves the read deadline up to six times. Conn leaves the deadline
// of the socket where it is as long as it comes early enough. When it strikes too
// early, it is moved and the read goes on.
//
// And the server reads in a goroutine while a request is served, to notice that the
// client goes away. For a request that our handler serves, that read ends at once with
// nothing, which the server takes for what it is, and a client is watched only if the
// request takes long enough for the engine to ask (gone_unix.go).
type Conn struct {
	*net.TCPConn
	// raw is the socket; nil where sockets cannot be used without net.
	raw syscall.RawConn
	// watcher is who notices that the client goes away, a watcher.
	watcher atomic.Int32
	// facts are what Caddy has said of the client, nil until it has.
	facts atomic.Pointer[clientFacts]
	// stall is how long the client may take nothing (stall.go), nil until it was asked for.
	stall atomic.Pointer[systemLimit]
	// lingers says that the client may still be sending when the connection is closed.
	lingers atomic.Bool
	// serverTells says that the context of a request always tells when the client goes away.
	serverTells bool
	// unread is what was read before another server got the connection.
	unread []byte

	// mu guards what follows.
	mu sync.Mutex
	// readBy is the read deadline, socketBy that of the socket: not later, unless there
	// is none.
	readBy, socketBy time.Time
	// writeBounded says that there is a write deadline.
	writeBounded bool
	// exact says that the deadlines of the socket have to be those that are asked for:
	// the connection has another owner, who may use the socket itself.
	exact bool
	// waitOver says that OnGone has to stop waiting for the client.
	waitOver bool
}

// Interface guards.
var (
	_ io.ReaderFrom = (*Conn)(nil) // else large bodies would be copied
	_ syscall.Conn  = (*Conn)(nil) // else idle tunnels would hold buffers
)

// watcher says who notices that the client goes away while a request is served. It is
// decided once for a request, however often the request is sent to a target: two reads
// of one socket wait for each other.
type watcher = int32

const (
	// serverWatches: net/http's server notices it, by its read in the background.
	serverWatches watcher = iota
	// undecided: our handler serves a request, and nobody has looked yet. If the server
	// comes to read first, we watch; if somebody wants to know first, the server does.
	undecided
	// weWatch: the read in the background has been told that there is nothing. OnGone
	// looks at the socket.
	weWatch
)

func newConn(socket *net.TCPConn) *Conn {
	c := &Conn{TCPConn: socket}
	if sockio.Supported {
		if raw, err := socket.SyscallConn(); err == nil {
			c.raw = raw
		}
	}
	return c
}

// longAgo is a deadline that ends all waiting.
var longAgo = time.Unix(1, 0)

// connKey is the context key of the Conn of a request.
type connKey struct{}

// withConn is for [http.Server.ConnContext].
func withConn(ctx context.Context, c net.Conn) context.Context {
	if below, ok := c.(*tls.Conn); ok {
		c = below.NetConn()
	}
	if c, ok := c.(*Conn); ok {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

// Of returns the connection that a request has come by, be it below TLS, or
// nil if that is not one of ours.
func Of(r *http.Request) *Conn {
	c, _ := r.Context().Value(connKey{}).(*Conn)
	return c
}

// beginWatch lets c notice, instead of the server, that the client of r goes away, if
// that is possible. Then it returns true, and endWatch has to be called when r has been
// served. c may be nil.
//
// It is possible for requests without a body over HTTP/1.1, since the server reads nothing
// else while they are served, and the engine reads nothing at all. Below TLS, c cannot
// tell the server's read in the background from its other reads.
func (c *Conn) beginWatch(r *http.Request) bool {
	if c == nil || r.ProtoMajor != 1 || r.ContentLength != 0 || r.TLS != nil || !canWatchClient || c.serverTells {
		return false
	}
	c.watcher.Store(undecided)
	return true
}

// endWatch leaves it to the server again to notice that a client goes away. A read of the
// server's that begins after this is an ordinary one.
func (c *Conn) endWatch() { c.watcher.Store(serverWatches) }

// Read implements [net.Conn].
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 1 && c.watcher.CompareAndSwap(undecided, weWatch) {
		return 0, nil // once: who calls again would do so forever
	}
	if len(c.unread) > 0 {
		n := copy(p, c.unread)
		c.unread = c.unread[n:]
		return n, nil
	}
	for {
		n, err := c.read(p)
		if n > 0 || err == nil || !c.isEarly(err) {
			return n, err
		}
	}
}

func (c *Conn) read(p []byte) (int, error) {
	if c.raw == nil {
		return c.TCPConn.Read(p)
	}
	return sockio.Read(c.raw, p)
}

// Write implements [net.Conn].
func (c *Conn) Write(p []byte) (int, error) {
	if c.raw == nil {
		return c.TCPConn.Write(p)
	}
	return sockio.Write(c.raw, p)
}

// late is called when the deadline of the socket has struck. If it was too early, late
// moves it to where it has to be and returns false.
//
// A deadline that is set meanwhile is not lost: either it is seen here, or it is set
// after this and ends the next read.
func (c *Conn) late() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.readBy.IsZero() && !time.Now().Before(c.readBy) {
		return true
	}
	return c.moveTo(c.readBy) != nil
}

// moveTo moves the deadline of the socket. mu must be held.
func (c *Conn) moveTo(t time.Time) error {
	c.socketBy = t
	return c.TCPConn.SetReadDeadline(t)
}

// SetReadDeadline implements [net.Conn].
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readBy = t
	early := !c.socketBy.IsZero() && !c.socketBy.After(t)
	if !c.exact && (t.IsZero() || early) {
		return nil
	}
	return c.moveTo(t)
}

// SetWriteDeadline implements [net.Conn].
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.IsZero() && !c.writeBounded {
		return nil
	}
	c.writeBounded = !t.IsZero()
	return c.TCPConn.SetWriteDeadline(t)
}

// SetDeadline implements [net.Conn]. The server calls it when it gives the connection
// away, be it to a tunnel that waits for the socket without us.
func (c *Conn) SetDeadline(t time.Time) error {
	c.watcher.Store(serverWatches)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.exact, c.readBy, c.socketBy, c.writeBounded = true, t, t, !t.IsZero()
	return c.TCPConn.SetDeadline(t)
}

// NetConn returns the connection below.
func (c *Conn) NetConn() net.Conn { return c.TCPConn }
