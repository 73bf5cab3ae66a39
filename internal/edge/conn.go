package edge

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/parachute-proxy/parachute/internal/clientconn"
	"github.com/parachute-proxy/parachute/internal/http1"
)

// Connection states. A shutdown takes an idle connection that it closes from idle to closed, and who reads
// the first byte of a request takes it from idle to active: so no request that has begun to
// arrive is lost.
const (
	stateNew int32 = iota
	stateActive
	stateIdle
	stateClosed
)

// conn is a connection to a client.
type conn struct {
	server *Server
	// nc is what is read and written; socket is that, or what is below its TLS.
	nc     net.Conn
	socket *clientconn.Conn
	secure *tls.ConnectionState // nil without TLS
	// remote is the address of the client with its port, and client without.
	remote, client string
	// ctx is the context of the connection, which has values and never ends; nil before begin.
	ctx   context.Context
	began time.Time
	// expires is until when the connection may be idle, if it is; zero if for ever.
	expires time.Time
	state   atomic.Int32
	// settled says that the connection is not to be handed over.
	settled atomic.Bool
	lent    *clientconn.LentReader // nil over TLS

	// buf is nil while the connection is idle. What has been read and not been used yet is
	// buf.in[r:w].
	buf  *buffers
	r, w int
	// one is for the first byte of a request over TLS, which is waited for without a buffer.
	one [1]byte
	// fd is the number of the socket, once the connection was parked, which wasParked says. Both belong to idleConns.
	fd        int
	wasParked bool
	// hijacked says that a handler has taken the connection.
	hijacked bool
	// handed says that another server has it.
	handed bool
}

func newConn(s *Server, nc net.Conn, socket *clientconn.Conn) *conn {
	return &conn{server: s, nc: nc, socket: socket, began: time.Now()}
}

// longAgo is a deadline that ends all waiting.
var longAgo = time.Unix(1, 0)

// closeIdle reports whether the connection was idle and is to be closed now.
func (c *conn) closeIdle(now time.Time) bool {
	if c.state.CompareAndSwap(stateIdle, stateClosed) {
		return true
	}
	return now.Sub(c.began) > silence && c.state.CompareAndSwap(stateNew, stateClosed)
}

// serve serves the connection until its end, or until it is parked. Then it is called again.
func (c *conn) serve() {
	isParked := false
	defer func() {
		c.logPanic(recover())
		if !isParked {
			c.end()
		}
	}()
	first := c.ctx == nil
	if first && !c.begin() {
		return
	}
	for ; ; first = false {
		if c.r == c.w {
			switch c.await(first) {
			case requestBegins:
			case connectionEnds:
				return
			case connectionParked:
				isParked = true // by now, others may use c
				return
			}
		}
		size, err := c.readHead(first)
		if err != nil {
			c.refuse(err)
			return
		}
		if size == 0 { // it is no HTTP/1.1
			c.handOver()
			return
		}
		if !c.serveRequest(size) {
			return
		}
	}
}

// begin is what comes before the first request. It returns false if the connection is not to be served any more here.
func (c *conn) begin() bool {
	c.server.track(c)
	c.server.tell(c.nc, http.StateNew)
	if addr := c.nc.RemoteAddr(); addr != nil {
		c.remote = addr.String()
		c.client = withoutPort(c.remote)
	}
	c.socket.ServerTells()
	ctx := context.WithValue(context.Background(), http.ServerContextKey, c.server.Std)
	if of := c.server.Std.ConnContext; of != nil {
		ctx = of(ctx, c.nc)
	}
	c.ctx = context.WithValue(ctx, http.LocalAddrContextKey, c.nc.LocalAddr())
	if secure, ok := c.nc.(*tls.Conn); ok {
		if !c.handshake(c.ctx, secure) {
			return false
		}
	} else {
		c.lent = clientconn.NewLentReader(c.socket, c.lend, c.lose)
	}
	if d := c.server.headTimeout(); d > 0 {
		_ = c.nc.SetReadDeadline(c.began.Add(d))
	}
	return true
}

// end ends the connection, unless another server or a handler has it.
func (c *conn) end() {
	if c.buf != nil {
		c.lose()
	}
	c.server.untrack(c)
	if c.hijacked || c.handed {
		return
	}
	_ = c.nc.Close()
	c.server.tell(c.nc, http.StateClosed)
}

// withoutPort returns an address without its port.
func withoutPort(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

// lend gives the connection buffers, and returns the one to read into.
func (c *conn) lend() []byte {
	c.buf = buffersPool.Get().(*buffers)
	return c.buf.in
}

// lose takes the buffers from the connection, with what is in them.
func (c *conn) lose() {
	c.buf.release()
	c.buf, c.r, c.w = nil, 0, 0
}

// handshake makes the handshake of TLS. It returns false if the connection is not to be served
// any more here.
func (c *conn) handshake(ctx context.Context, secure *tls.Conn) bool {
	limit := c.server.handshakeTimeout()
	if limit > 0 {
		// Not by SetDeadline, which would mean to the socket that it is given away.
		_ = secure.SetReadDeadline(c.began.Add(limit))
		_ = secure.SetWriteDeadline(c.began.Add(limit))
	}
	if err := secure.HandshakeContext(ctx); err != nil {
		reason := err.Error()
		if plain, ok := errors.AsType[tls.RecordHeaderError](err); ok && plain.Conn != nil && looksLikeHTTP(plain.RecordHeader) {
			_, _ = io.WriteString(plain.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
			_ = plain.Conn.Close()
			reason = "client sent an HTTP request to an HTTPS server"
		}
		c.server.logf("http: TLS handshake error from %s: %v", c.remote, reason)
		return false
	}
	if limit > 0 {
		_ = secure.SetReadDeadline(time.Time{})
		_ = secure.SetWriteDeadline(time.Time{})
	}
	state := secure.ConnectionState()
	if p := state.NegotiatedProtocol; p != "" && p != "http/1.1" && p != "http/1.0" {
		c.handOver()
		return false
	}
	c.secure = &state
	c.settled.Store(true)
	return true
}

// looksLikeHTTP reports whether what should be the head of a record of TLS begins a request.
func looksLikeHTTP(head [5]byte) bool {
	switch string(head[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		return true
	}
	return false
}

// handOver gives the connection to the other server, with what has been read of it.
func (c *conn) handOver() {
	if !c.state.CompareAndSwap(stateNew, stateActive) && c.state.Load() != stateActive {
		return // closed meanwhile
	}
	if c.buf != nil {
		c.socket.Unread(c.buf.in[c.r:c.w])
	}
	_ = c.nc.SetReadDeadline(time.Time{})
	c.handed = true
	c.server.HandOver(c.nc)
}

// How a wait for a request ends.
const (
	requestBegins = iota
	connectionEnds
	connectionParked
)

// await waits for the first byte of a request, without buffers.
func (c *conn) await(first bool) (outcome int) {
	if c.buf != nil {
		c.lose()
	}
	if !first {
		if !c.becomeIdle() {
			return connectionEnds
		}
		// A read that finds nothing costs a system call, and the wait for the poller more. While the
		// others have their turn, the client may send its next request.
		runtime.Gosched()
	}
	for {
		n, err := c.readFirst()
		if err == nil {
			c.r, c.w = 0, n
			break
		}
		if first || !errors.Is(err, os.ErrDeadlineExceeded) || c.hasExpired(time.Now()) || c.state.Load() == stateClosed {
			return connectionEnds
		}
		if parked.park(c) {
			return connectionParked
		}
		_ = c.nc.SetReadDeadline(c.expires)
	}
	if !c.state.CompareAndSwap(stateIdle, stateActive) && !c.state.CompareAndSwap(stateNew, stateActive) {
		return connectionEnds
	}
	c.server.tell(c.nc, http.StateActive)
	return requestBegins
}

// becomeIdle bounds the wait for the next request. It returns false if there is to be none.
func (c *conn) becomeIdle() bool {
	limit, now := c.server.idleTimeout(), time.Now()
	switch {
	case c.state.Load() != stateActive: // it was parked, or the server has closed it since
	case limit > 0:
		c.expires = now.Add(limit)
	default:
		c.expires = time.Time{}
	}
	until := now.Add(parkAfter)
	if limit > 0 && limit < parkFrom*parkAfter || !c.expires.IsZero() && c.expires.Before(until) {
		until = c.expires
	}
	_ = c.nc.SetReadDeadline(until)
	if !c.state.CompareAndSwap(stateActive, stateIdle) {
		return true
	}
	c.server.tell(c.nc, http.StateIdle)
	return !c.server.ending.Load()
}

// hasExpired reports whether the connection has been idle for too long.
func (c *conn) hasExpired(now time.Time) bool { return !c.expires.IsZero() && !now.Before(c.expires) }

// readFirst waits for something to read.
func (c *conn) readFirst() (int, error) {
	if c.lent != nil {
		return c.lent.Read()
	}
	return c.readSecurely()
}

// readSecurely waits for a record of TLS with one byte as a buffer, and reads the rest of it into
// one that is borrowed then.
func (c *conn) readSecurely() (int, error) {
	n, err := c.nc.Read(c.one[:])
	if n == 0 {
		return 0, err
	}
	in := c.lend()
	in[0] = c.one[0]
	return 1, nil
}

// preface is what HTTP/2 begins with (RFC 9113, section 3.4).
var preface = []byte("PRI * HTTP/2.0\r\n\r\n")

// readHead reads until there is a whole head, and returns its size; 0 if the client speaks
// HTTP/2. The head is in c.buf.head then.
func (c *conn) readHead(first bool) (int, error) {
	timed := first // the deadline is there already
	tried := -1    // how much of a head has been looked at
	for {
		have := c.buf.in[c.r:c.w]
		if first && c.secure == nil {
			switch {
			case have[0] == 'P' && bytes.HasPrefix(have, preface):
				return 0, nil
			case have[0] == 'P' && bytes.HasPrefix(preface, have):
				tried = len(have) // wait for more
			default:
				c.settled.Store(true)
			}
		}
		// A head that comes in many pieces is not to be looked at for each.
		if tried < 0 || len(have) >= 2*tried || bytes.Contains(have[max(0, tried-3):], headEnd) {
			tried = len(have)
			n, err := c.buf.head.Parse(have)
			if err == nil && n > c.server.maxHead() {
				return 0, errLargeHead
			}
			if err != http1.ErrIncomplete {
				return n, err
			}
		}
		if len(have) >= c.server.maxHead() {
			return 0, errLargeHead
		}
		if d := c.server.headTimeout(); !timed {
			timed = true
			deadline := time.Time{}
			if d > 0 {
				deadline = time.Now().Add(d)
			}
			_ = c.nc.SetReadDeadline(deadline)
		}
		if err := c.fill(); err != nil {
			return 0, readError{err}
		}
	}
}

var headEnd = []byte("\n\r\n")

// fill reads more into the buffer, for which it makes room.
func (c *conn) fill() error {
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	c.makeRoom()
	n, err := c.nc.Read(c.buf.in[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// makeRoom makes room in the buffer, if there is none.
func (c *conn) makeRoom() {
	b := c.buf
	switch {
	case c.w < len(b.in):
	case c.r > 0:
		c.w = copy(b.in, b.in[c.r:c.w])
		c.r = 0
	default:
		b.in = append(b.in, make([]byte, len(b.in))...)
	}
}

// serveRequest serves the request whose head, of a size, begins the buffer. It reports whether
// the connection can be used for another one.
func (c *conn) serveRequest(size int) bool {
	answered, handler := c.passThrough(size)
	if answered {
		c.r += size
		return c.flushPassed()
	}
	x, err := c.newExchange()
	if err != nil {
		c.refuse(err)
		return false
	}
	c.r += size
	s := c.server
	if x.body.length == 0 {
		// Pipelined requests stay where they are.
		x.ctx.bodyEnded()
	}
	deadline := time.Time{}
	if d := s.Std.ReadTimeout; d > 0 {
		deadline = time.Now().Add(d)
	}
	_ = c.nc.SetReadDeadline(deadline)
	if d := s.Std.WriteTimeout; d > 0 {
		_ = x.SetWriteDeadline(time.Now().Add(d))
	}
	switch expect := x.request.Header["Expect"]; {
	case len(expect) == 0:
	case expects100(x.request.Header):
		x.awaitsContinue = x.request.ProtoMinor > 0 && x.body.length != 0
		x.continues = x.awaitsContinue
	default: // RFC 9110, section 10.1.1
		x.Header()["Connection"] = []string{"close"}
		x.WriteHeader(http.StatusExpectationFailed)
		x.ctx.end()
		x.finish()
		c.lingerAfter(x)
		return false
	}
	if !c.call(x, handler) || c.hijacked {
		return false
	}
	x.finish()
	if x.writeBounded {
		_ = c.nc.SetWriteDeadline(time.Time{})
	}
	if !x.reusable() {
		c.lingerAfter(x)
		return false
	}
	return true
}

// call calls a handler, that of the server if it is nil. It returns false if that has panicked.
func (c *conn) call(x *exchange, handler http.Handler) (returned bool) {
	defer func() {
		if returned {
			return
		}
		c.logPanic(recover())
		x.abandon()
	}()
	if handler == nil {
		handler = c.server.handler()
	}
	if r := x.request; r.Method == http.MethodOptions && r.RequestURI == "*" && !c.server.Std.DisableGeneralOptionsHandler {
		answerOptions(x) // as net/http does
	} else {
		handler.ServeHTTP(x, r)
	}
	x.ctx.end()
	return true
}

// logPanic logs what the goroutine has panicked with, unless that is nil or the end that a handler wants.
func (c *conn) logPanic(problem any) {
	if problem == nil || problem == http.ErrAbortHandler {
		return
	}
	stack := make([]byte, 64<<10)
	stack = stack[:runtime.Stack(stack, false)]
	c.server.logf("http: panic serving %v: %v\n%s", c.remote, problem, stack)
}

// answerOptions answers a request for the options of the server as a whole (RFC 9110, section
// 9.3.7).
func answerOptions(x *exchange) {
	x.Header()["Content-Length"] = []string{"0"}
	_, _ = io.CopyN(io.Discard, x.request.Body, 4<<10)
}

// lingerAfter has the end of the connection linger if the client may still be sending the body of x.
func (c *conn) lingerAfter(x *exchange) {
	if !x.body.ended() {
		c.linger()
	}
}

// linger has the end of the connection wait for what the client may still be sending.
func (c *conn) linger() {
	c.socket.Linger()
	if secure, ok := c.nc.(*tls.Conn); ok {
		_ = secure.CloseWrite()
	}
}

// append puts a byte behind what has been read and not been used.
func (c *conn) append(b byte) {
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	c.makeRoom()
	c.buf.in[c.w] = b
	c.w++
}

// write writes to the client.
func (c *conn) write(p []byte) error {
	_, err := c.nc.Write(p)
	return err
}

// writeBoth writes two pieces to the client, as one if that is possible.
func (c *conn) writeBoth(a, b []byte) error {
	if c.secure != nil {
		if err := c.write(a); err != nil {
			return err
		}
		return c.write(b)
	}
	c.buf.parts = [2][]byte{a, b}
	c.buf.vector = c.buf.parts[:]
	_, err := c.buf.vector.WriteTo(c.socket.TCPConn)
	c.buf.parts = [2][]byte{}
	return err
}
