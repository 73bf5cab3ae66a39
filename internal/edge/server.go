package edge

import (
	"context"
	"crypto/tls"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parachute-proxy/parachute/internal/clientconn"
)

// Server serves connections. Its fields must not be changed once it does.
type Server struct {
	// Std is the server of net/http in whose place this one serves. Its handler is called, its
	// hooks are told of connections, and its timeouts and limits hold. Requests have it in their
	// contexts.
	Std *http.Server
	// HandOver gets connections that are for HTTP/2. It returns when they are the other server's.
	HandOver func(net.Conn)

	ending atomic.Bool

	// mu guards what follows.
	mu    sync.Mutex
	conns map[*conn]struct{}
}

// CanServe reports whether c is a connection that a Server can serve: one of
// [clientconn.NewListener], or TLS over such a one.
func CanServe(c net.Conn) bool {
	_, ok := below(c)
	return ok
}

func below(c net.Conn) (*clientconn.Conn, bool) {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	socket, ok := c.(*clientconn.Conn)
	return socket, ok
}

// Start has c served, for which CanServe has returned true, and returns at once.
func (s *Server) Start(c net.Conn) {
	socket, _ := below(c)
	start(newConn(s, c, socket))
}

func (s *Server) track(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		s.conns = make(map[*conn]struct{})
	}
	s.conns[c] = struct{}{}
}

func (s *Server) untrack(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// tell calls the server's ConnState, by which the front counts its connections.
func (s *Server) tell(c net.Conn, state http.ConnState) {
	if hook := s.Std.ConnState; hook != nil {
		hook(c, state)
	}
}

// silence is how long a connection may be open without a byte before it counts as idle, as
// net/http has it.
const silence = 5 * time.Second

// maxPause bounds the pauses between looks at connections that have to end.
const maxPause = 100 * time.Millisecond

// Shutdown closes the connections that are idle, has the others end with the request that they
// serve, and returns when none is left, or when ctx has ended, with its error. Requests that have
// begun to arrive are served.
func (s *Server) Shutdown(ctx context.Context) error {
	s.ending.Store(true)
	return await(ctx, func() bool { return s.closeIdle() == 0 })
}

// Settle returns when none of the connections that the server has can come to be handed over any
// more, or when ctx has ended, with its error. A client that says nothing is not waited for longer
// than Shutdown does.
func (s *Server) Settle(ctx context.Context) error { return await(ctx, s.settled) }

func (s *Server) settled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if !c.settled.Load() && (c.state.Load() != stateNew || time.Since(c.began) <= silence) {
			return false
		}
	}
	return true
}

// await returns when done returns true, or when ctx has ended, with its error.
func await(ctx context.Context, done func() bool) error {
	for pause := time.Millisecond; !done(); pause = min(2*pause, maxPause) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
	return nil
}

// closeIdle closes the connections that are idle, and returns how many others there are.
func (s *Server) closeIdle() int {
	s.mu.Lock()
	var idle []*conn
	for c := range s.conns {
		if c.closeIdle(time.Now()) {
			idle = append(idle, c)
			delete(s.conns, c)
		}
	}
	left := len(s.conns)
	s.mu.Unlock()
	for _, c := range idle {
		if parked.take(c) {
			c.end()
		} else {
			_ = c.nc.Close() // and its goroutine ends it
		}
	}
	return left
}

func (s *Server) logf(format string, args ...any) {
	if s.Std.ErrorLog != nil {
		s.Std.ErrorLog.Printf(format, args...)
	} else {
		log.Printf(format, args...)
	}
}

func (s *Server) handler() http.Handler {
	if s.Std.Handler != nil {
		return s.Std.Handler
	}
	return http.DefaultServeMux
}

// headTimeout is how long a client has for a head, from its first byte; 0 is for ever.
func (s *Server) headTimeout() time.Duration {
	if s.Std.ReadHeaderTimeout != 0 {
		return s.Std.ReadHeaderTimeout
	}
	return s.Std.ReadTimeout
}

// idleTimeout is how long a connection may be idle; 0 is for ever.
func (s *Server) idleTimeout() time.Duration {
	if s.Std.IdleTimeout != 0 {
		return s.Std.IdleTimeout
	}
	return s.Std.ReadTimeout
}

// handshakeTimeout is how long a handshake of TLS may take; 0 is for ever.
func (s *Server) handshakeTimeout() (t time.Duration) {
	for _, d := range []time.Duration{s.Std.ReadHeaderTimeout, s.Std.ReadTimeout, s.Std.WriteTimeout} {
		if d > 0 && (t == 0 || d < t) {
			t = d
		}
	}
	return t
}

// maxHead is how large a head may be, in bytes.
func (s *Server) maxHead() int {
	if s.Std.MaxHeaderBytes > 0 {
		return s.Std.MaxHeaderBytes + 4096 // as net/http has it
	}
	return http.DefaultMaxHeaderBytes + 4096
}
