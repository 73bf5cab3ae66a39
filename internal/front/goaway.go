//lint:file-ignore SA1019 net/http's own server for HTTP/2 serves nothing but a tls.Conn

package front

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"net"
	"net/http"
	"runtime"
	"sync"

	"golang.org/x/net/http2"
)

// When net/http's server ends an HTTP/2 connection, it names the last request that it has
// seen, and refuses what the client has sent meanwhile. RFC 9113, section 6.8, has a way
// without loss: a first GOAWAY that refuses nothing and asks the client to come by another
// connection, and, after a while, the one that counts. The server has no such thing, so it
// is put between two frames that the server writes.

// unencryptedHTTP2 is what net/http and x/net call HTTP/2 without TLS among themselves.
const unencryptedHTTP2 = "unencrypted_http2"

// configureHTTP2 has s serve HTTP/2 with Go's server for it, on connections that goAway can
// be called for.
func (s *server) configureHTTP2() {
	conf := new(http2.Server)
	if err := http2.ConfigureServer(s.http, conf); err != nil {
		return // which is about settings that we do not have
	}
	serve := func(c net.Conn, h2 *h2Conn, h http.Handler, prefaceSeen bool) {
		s.mu.Lock()
		s.h2[h2] = struct{}{}
		if s.polite.Load() {
			go h2.goAway()
		}
		s.mu.Unlock()
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.h2, h2)
		}()
		var ctx context.Context
		if base, ok := h.(interface{ BaseContext() context.Context }); ok {
			ctx = base.BaseContext()
		}
		conf.ServeConn(c, &http2.ServeConnOpts{Context: ctx, Handler: h, BaseConfig: s.http, SawClientPreface: prefaceSeen})
	}
	next := s.http.TLSNextProto
	next[http2.NextProtoTLS] = func(_ *http.Server, c *tls.Conn, h http.Handler) {
		h2 := &h2Conn{Conn: c}
		serve(secureH2Conn{h2, c}, h2, h, false)
	}
	plain := next[unencryptedHTTP2]
	next[unencryptedHTTP2] = func(std *http.Server, c *tls.Conn, h http.Handler) {
		inner, ok := c.NetConn().(interface{ UnencryptedNetConn() net.Conn })
		if !ok {
			plain(std, c, h)
			return
		}
		h2 := &h2Conn{Conn: inner.UnencryptedNetConn()}
		serve(h2, h2, h, true)
	}
}

// h2Conn is a connection on which a server writes HTTP/2.
type h2Conn struct {
	net.Conn

	// mu guards what follows, and is held while something is written.
	mu     sync.Mutex
	frames frames
	// told says that the client has been told to leave, due that it has to be.
	told, due bool
}

// secureH2Conn is an h2Conn over TLS, which the server asks for its state.
type secureH2Conn struct {
	*h2Conn
	tls *tls.Conn
}

// ConnectionState returns the state of TLS.
func (c secureH2Conn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

// firstGoAway is a frame that asks the client to make no more requests on the connection,
// and refuses none: the last stream that it names is the last one that there can be.
var firstGoAway = []byte{
	0, 0, 8, // length
	byte(http2.FrameGoAway), 0, // flags
	0, 0, 0, 0, // of the connection
	0x7f, 0xff, 0xff, 0xff, // last stream
	0, 0, 0, 0, // no error
}

// goAway tells the client, once, to leave.
func (c *h2Conn) goAway() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told {
		return
	}
	c.due = true
	if c.frames.between() {
		c.tell()
	}
}

// tell writes the frame. mu must be held.
func (c *h2Conn) tell() {
	c.told, c.due = true, false
	_, _ = c.Conn.Write(firstGoAway) // if it fails, so does the server's next frame
}

// Write implements [net.Conn]. The server writes when it has no other frame. While the others have their turn,
// more answers of the connection may come about, which then go into the next record of TLS together.
func (c *h2Conn) Write(p []byte) (written int, err error) {
	runtime.Gosched()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.due && len(p) > 0 {
		n := c.frames.next(p)
		n, err = c.Conn.Write(p[:n])
		written += n
		if err != nil {
			return written, err
		}
		if c.frames.between() {
			c.tell()
		}
		p = p[n:]
	}
	if len(p) == 0 {
		return written, nil
	}
	for rest := p; len(rest) > 0; {
		rest = rest[c.frames.next(rest):]
	}
	n, err := c.Conn.Write(p)
	return written + n, err
}

// frames follows the frames in what a server writes (RFC 9113, section 4.1).
type frames struct {
	header [9]byte
	// have is how much of a header there is, and payload how much of a payload there is to
	// come.
	have, payload int
	// begun says that there has been a frame: the server's first one has to be SETTINGS.
	begun bool
	// open says that the frame that follows has to be a CONTINUATION.
	open bool
}

// between reports whether another frame may come here.
func (f *frames) between() bool { return f.begun && f.have == 0 && !f.open }

// next follows p up to the end of a frame, or to its own end, and returns how much that is.
func (f *frames) next(p []byte) int {
	n := 0
	if f.have < len(f.header) {
		n = copy(f.header[f.have:], p)
		f.have += n
		if f.have < len(f.header) {
			return n
		}
		f.payload = int(binary.BigEndian.Uint32(f.header[:]) >> 8)
		switch http2.FrameType(f.header[3]) {
		case http2.FrameHeaders, http2.FramePushPromise, http2.FrameContinuation:
			f.open = !http2.Flags(f.header[4]).Has(http2.FlagHeadersEndHeaders)
		}
	}
	rest := min(f.payload, len(p)-n)
	f.payload -= rest
	if f.payload == 0 {
		f.have, f.begun = 0, true
	}
	return n + rest
}
