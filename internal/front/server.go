package front

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parachute-proxy/parachute/internal/edge"
	"github.com/parachute-proxy/parachute/internal/passthrough"
)

// server serves connections that have the same settings, whichever config they came by.
type server struct {
	front *front
	http  *http.Server
	queue *queue
	// edge serves HTTP/1.1 in the place of http, whose settings it has; nil if it does not.
	edge  *edge.Server
	conns connections
	// polite says that clients are told to come by another connection.
	polite atomic.Bool
	// ended is closed, by retire of Fronts, when there are no connections any more, or no
	// time for them.
	ended chan struct{}
	// hurried is closed when idle connections are to be closed now.
	hurried  chan struct{}
	hurrying sync.Once

	// mu guards what follows.
	mu sync.Mutex
	// h2 are the connections over HTTP/2.
	h2 map[*h2Conn]struct{}
	// h3 are those over HTTP/3.
	h3 map[*h3Conn]struct{}
}

// connectionSettings returns the settings of std that connections keep, in a form to be
// compared.
func connectionSettings(std *http.Server) string {
	return fmt.Sprint(std.ReadTimeout, std.ReadHeaderTimeout, std.WriteTimeout, std.IdleTimeout, std.MaxHeaderBytes, std.Protocols)
}

// newServer returns a server with the settings of one of Caddy's. withEdge says that HTTP/1.1 is
// served by the edge.
func newServer(f *front, std *http.Server, withEdge bool) *server {
	s := &server{front: f, queue: newQueue(f.addr), ended: make(chan struct{}), hurried: make(chan struct{}), h2: make(map[*h2Conn]struct{}), h3: make(map[*h3Conn]struct{})}
	var protocols http.Protocols
	if std.Protocols != nil {
		protocols = *std.Protocols
	} else {
		protocols.SetHTTP1(true)
	}
	s.http = &http.Server{
		Handler:           s,
		ReadTimeout:       std.ReadTimeout,
		ReadHeaderTimeout: std.ReadHeaderTimeout,
		WriteTimeout:      std.WriteTimeout,
		IdleTimeout:       std.IdleTimeout,
		MaxHeaderBytes:    std.MaxHeaderBytes,
		Protocols:         &protocols,
		ErrorLog:          log.New(errorLog{f}, "", 0),
		ConnContext:       s.connContext,
		ConnState:         s.connState,
	}
	if protocols.UnencryptedHTTP2() { // Caddy sets it for HTTP/2 over TLS as well
		s.configureHTTP2()
	} else {
		s.http.TLSNextProto = make(map[string]func(*http.Server, *tls.Conn, http.Handler))
	}
	if withEdge && protocols.HTTP1() {
		s.edge = &edge.Server{Std: s.http, HandOver: s.enqueue}
	}
	go func() { _ = s.http.Serve(s.queue) }()
	return s
}

// ServeHTTP implements [http.Handler].
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.polite.Load() && r.ProtoMajor == 1 {
		// Over HTTP/2, net/http would refuse what the client sends meanwhile.
		w.Header().Set("Connection", "close")
	}
	if r.TLS == nil && s.front.revealed.Load() {
		r.TLS = revealTLS(r.Context())
	}
	s.front.current.Load().std.Handler.ServeHTTP(w, r)
}

// PassThrough implements [passthrough.Handler].
func (s *server) PassThrough(r *passthrough.Request) (answered bool, next http.Handler) {
	if s.polite.Load() || r.TLS == nil && s.front.revealed.Load() {
		return false, nil
	}
	if h, ok := s.front.current.Load().std.Handler.(passthrough.Handler); ok {
		return h.PassThrough(r)
	}
	return false, nil
}

// connContext is the config's.
func (s *server) connContext(ctx context.Context, c net.Conn) context.Context {
	if hidden, ok := c.(hiddenTLS); ok {
		ctx, c = hidden.context(ctx), hidden.Conn
	}
	if of := s.front.current.Load().std.ConnContext; of != nil {
		return of(ctx, c)
	}
	return ctx
}

// connState counts connections, and tells the config, which may have been told of other
// states of the connection, or not.
func (s *server) connState(c net.Conn, state http.ConnState) {
	if state == http.StateClosed || state == http.StateHijacked {
		s.conns.add(-1)
	}
	if tell := s.front.current.Load().std.ConnState; tell != nil {
		tell(c, state)
	}
}

// serve serves c, a connection that the config of e has accepted.
func (f *front) serve(c net.Conn, e *entry) {
	if _, ok := c.(*tls.Conn); !ok {
		if c2, ok := c.(connectionStater); ok {
			f.revealed.Store(true)
			c = hiddenTLS{c, c2}
		}
	}
	s := e.server.Load()
	s.conns.add(1)
	if s.edge != nil && edge.CanServe(c) {
		s.edge.Start(c)
		return
	}
	s.enqueue(c)
}

// enqueue hands c, which has been counted, to net/http's server.
func (s *server) enqueue(c net.Conn) {
	if !s.queue.put(c) {
		s.conns.add(-1)
		_ = c.Close()
	}
}

// politeTime is how long clients have to leave by themselves. One that makes a request
// meanwhile is told to. An idle one is closed after that, which may cross with a request.
const politeTime = 2 * time.Second

// hurry has retire close idle connections now.
func (s *server) hurry() { s.hurrying.Do(func() { close(s.hurried) }) }

// retire tells all clients to leave, and ends their connections when they have, or when they
// had so much time to. What has been begun by then ends by itself, unless ctx ends before.
func (s *server) retire(ctx context.Context, politely time.Duration) {
	s.polite.Store(true)
	s.mu.Lock()
	for c := range s.h2 {
		go c.goAway() // which may have to wait for the client
	}
	s.mu.Unlock()
	for _, c := range s.h3Conns() {
		c.leave()
	}
	select {
	case <-s.conns.none():
	case <-time.After(politely):
	case <-s.hurried:
	case <-ctx.Done():
	}
	var ending sync.WaitGroup
	ending.Go(func() {
		if s.edge != nil {
			_ = s.edge.Settle(ctx) // since it hands no connection over to a server that has closed its queue
		}
		_ = s.http.Shutdown(ctx)
	})
	ending.Go(func() { s.shutdownHTTP3(ctx) })
	if s.edge != nil {
		ending.Go(func() { _ = s.edge.Shutdown(ctx) })
	}
	ending.Wait()
}

// connections counts connections.
type connections struct {
	// mu guards what follows.
	mu sync.Mutex
	n  int
	// empty is closed when there are none; nil if nobody waits for it.
	empty chan struct{}
}

func (c *connections) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += n
	if c.n == 0 && c.empty != nil {
		close(c.empty)
		c.empty = nil
	}
}

func (c *connections) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// none returns a channel that is closed when there are no connections. It is to be called
// once.
func (c *connections) none() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	empty := make(chan struct{})
	if c.n == 0 {
		close(empty)
	} else {
		c.empty = empty
	}
	return empty
}

// errorLog writes to the log of the config.
type errorLog struct{ front *front }

// Write implements [io.Writer].
func (l errorLog) Write(p []byte) (int, error) {
	if log := l.front.current.Load().std.ErrorLog; log != nil {
		return log.Writer().Write(p)
	}
	return len(p), nil
}

// queue is a [net.Listener] for connections that have been accepted elsewhere.
type queue struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newQueue(addr net.Addr) *queue {
	return &queue{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// put returns false if the queue is closed.
func (q *queue) put(c net.Conn) bool {
	select {
	case q.conns <- c:
		return true
	case <-q.closed:
		return false
	}
}

// Accept implements [net.Listener].
func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

// Addr returns the address of the front.
func (q *queue) Addr() net.Addr { return q.addr }

// Close implements [net.Listener].
func (q *queue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

type connectionStater interface{ ConnectionState() tls.ConnectionState }

// hiddenTLS is a connection that a listener wrapper of the user's has put around one over
// TLS. net/http serves HTTP/2 on such a one only if it does not see that it is over TLS. So
// Caddy hides it, and so do we.
type hiddenTLS struct {
	net.Conn
	state connectionStater
}

// tlsKey is the context key of the [connectionStater] of a hiddenTLS.
type tlsKey struct{}

func (c hiddenTLS) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, tlsKey{}, c.state)
}

// revealTLS returns the state of the TLS connection of a request, or nil.
func revealTLS(ctx context.Context) *tls.ConnectionState {
	hidden, ok := ctx.Value(tlsKey{}).(connectionStater)
	if !ok {
		return nil
	}
	state := hidden.ConnectionState()
	return &state
}
