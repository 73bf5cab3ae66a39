package front

import (
	"context"
	"crypto/tls"
	"net/http"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// HTTP3 is what a config has for HTTP/3 on an address.
type HTTP3 struct {
	// TLS says, by GetConfigForClient, how clients are spoken to.
	TLS *tls.Config
	// Allow0RTT has clients that come again send requests with their first packet.
	Allow0RTT bool
}

// h3Conn is a connection over HTTP/3. It has an [http3.Server] of its own, since that sends the
// GOAWAY to all of its connections at the same time, and each client has another moment in which
// that rejects no request: see leave.
type h3Conn struct {
	server *server
	conn   *quic.Conn
	http   *http3.Server

	// mu guards what follows.
	mu       sync.Mutex
	requests int
	// idleSince is when the last request has ended.
	idleSince time.Time
	phase     h3Phase
}

// h3Phase is what a client has been told.
type h3Phase int

const (
	// staying is told nothing.
	staying h3Phase = iota
	// leaving is to be told to leave, when the moment has come.
	leaving
	// told has been told.
	told
)

// serveQUIC serves a connection, up to its end.
func (s *server) serveQUIC(conn *quic.Conn) {
	c := &h3Conn{server: s, conn: conn, idleSince: time.Now()}
	c.http = &http3.Server{
		Handler: c, MaxHeaderBytes: s.http.MaxHeaderBytes, IdleTimeout: s.http.IdleTimeout,
		ConnContext: func(ctx context.Context, _ *quic.Conn) context.Context {
			c.join() // before, GOAWAY could not be sent
			return ctx
		},
	}
	_ = c.http.ServeQUICConn(conn)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.h3, c)
}

func (c *h3Conn) join() {
	c.server.mu.Lock()
	c.server.h3[c] = struct{}{}
	polite := c.server.polite.Load()
	c.server.mu.Unlock()
	if polite {
		c.leave()
	}
}

// ServeHTTP implements [http.Handler].
func (c *h3Conn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c.begin() {
		select {
		case <-time.After(headStart):
		case <-r.Context().Done():
		}
	}
	defer c.end()
	c.server.front.current.Load().handler.ServeHTTP(w, r)
}

// begin counts a request, and reports whether it is the one with which the client is told to leave.
func (c *h3Conn) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
	if c.phase != leaving {
		return false
	}
	c.tell()
	return true
}

func (c *h3Conn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests--
	c.idleSince = time.Now()
}

// quiet is how long a client makes no other request before it is told to leave all the same.
const quiet = 500 * time.Millisecond

// headStart is how much earlier than an answer the client is told to leave, so that it knows when it
// has the answer.
const headStart = 20 * time.Millisecond

// leave tells the client to come by another connection. A request that it sends before it has
// heard that is rejected in the way that clients may repeat (H3_REQUEST_REJECTED, RFC 9114, section
// 5.2): quic-go's server sends no GOAWAY that rejects nothing. So the client is told when it has just
// made a request, since it hardly sends another one before it has the answer, or when it has made none
// for a while.
func (c *h3Conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase != staying {
		return
	}
	c.phase = leaving
	time.AfterFunc(quiet, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.phase == leaving {
			c.tell()
		}
	})
}

// tell sends the GOAWAY. mu must be held.
func (c *h3Conn) tell() {
	c.phase = told
	go func() { _ = c.http.Shutdown(c.conn.Context()) }()
}

// deliveryTime is how long a connection stays when its last request has been answered: the client has
// to get all of the answer, and closes the connection itself when it has.
const deliveryTime = time.Second

// isDone reports whether nothing has been under way for so long.
func (c *h3Conn) isDone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests == 0 && time.Since(c.idleSince) >= deliveryTime
}

func (c *h3Conn) close() {
	_ = c.conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
}

// h3Conns returns the connections over HTTP/3.
func (s *server) h3Conns() (all []*h3Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.h3 {
		all = append(all, c)
	}
	return all
}

// idleLook is how often is looked whether connections are idle.
const idleLook = 100 * time.Millisecond

// shutdownHTTP3 closes connections as their requests end, until there are none, or ctx ends.
func (s *server) shutdownHTTP3(ctx context.Context) {
	tick := time.NewTicker(idleLook)
	defer tick.Stop()
	for {
		all := s.h3Conns()
		if len(all) == 0 {
			return
		}
		for _, c := range all {
			if c.isDone() {
				go c.close()
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// cutHTTP3 closes the connections that are left, and returns when their clients have been told.
func (s *server) cutHTTP3() {
	var closing sync.WaitGroup
	for _, c := range s.h3Conns() {
		closing.Go(c.close)
	}
	closing.Wait()
}
