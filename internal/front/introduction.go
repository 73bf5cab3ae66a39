package front

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// introduction is a connection to a server of Caddy's that ends at once. It is there to be
// shown the server.
type introduction struct {
	addr net.Addr
	// request is what is left to be read.
	request *strings.Reader
	// std is the server, if the request has been served by Introduced.
	std atomic.Pointer[http.Server]
	// met is closed when the server has begun to read, or to serve the request if there is
	// one. ended is closed when the connection is.
	met, ended        chan struct{}
	meetOnce, endOnce sync.Once
}

func newIntroduction(addr net.Addr, request string) *introduction {
	return &introduction{addr: addr, request: strings.NewReader(request), met: make(chan struct{}), ended: make(chan struct{})}
}

func (i *introduction) meet() { i.meetOnce.Do(func() { close(i.met) }) }

// Read implements [net.Conn], as do the methods below.
func (i *introduction) Read(p []byte) (int, error) {
	if i.request.Size() == 0 {
		i.meet()
	}
	return i.request.Read(p) // which ends with io.EOF
}

// Write takes an answer, which nobody reads.
func (i *introduction) Write(p []byte) (int, error) { return io.Discard.Write(p) }

// Close ends the connection.
func (i *introduction) Close() error {
	i.endOnce.Do(func() { close(i.ended) })
	return nil
}

// LocalAddr returns the address of the listener. A handler knows the connection by it.
func (i *introduction) LocalAddr() net.Addr { return introductionAddr{i.addr, i} }

// RemoteAddr returns the address of the listener.
func (i *introduction) RemoteAddr() net.Addr { return i.addr }

// SetDeadline does nothing, as the others.
func (i *introduction) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (i *introduction) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (i *introduction) SetWriteDeadline(time.Time) error { return nil }

// introductionAddr is the address of an introduction, which no client can have.
type introductionAddr struct {
	net.Addr
	of *introduction
}

// secureIntroduction looks like a connection over TLS: Caddy warns of a listener for TLS
// that has others.
type secureIntroduction struct{ *introduction }

// ConnectionState is never called.
func (secureIntroduction) ConnectionState() tls.ConnectionState { return tls.ConnectionState{} }
