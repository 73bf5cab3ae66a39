package front

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/http3/qlog"
	"golang.org/x/time/rate"

	"github.com/parachute-proxy/parachute/internal/packets"
)

// quicSocket is the UDP socket of an address. Its connections belong to the front of the same
// address, and end when that asks them to, however many configs come and go.
type quicSocket struct {
	conn      *packets.Conn
	transport *quic.Transport
	gate      *gate
	// front has the connections: nil before the first config has started.
	front     atomic.Pointer[front]
	beginning sync.Once
	// accepts says that clients may begin connections. Otherwise they are refused.
	accepts atomic.Bool
	// done is closed when the socket is.
	done chan struct{}

	// mu guards what follows.
	mu sync.Mutex
	// heads counts those that have Caddy believe that it listens.
	heads int
	// conns counts the connections, also those whose handshake is under way.
	conns  int
	closed bool
}

// maxHandshakes is how many handshakes in a second are let pass before clients have to prove their
// addresses. Caddy has the same.
const maxHandshakes = 1000

// initialPacketSize is the size of the first packets, in bytes. Caddy has the same.
const initialPacketSize = 1200

// newQUICSocket returns the socket of an address, which accepts connections once a config has
// joined.
func newQUICSocket(conn *packets.Conn, ids connectionIDs, secrets *secrets, g *gate) (*quicSocket, error) {
	limiter := rate.NewLimiter(maxHandshakes, maxHandshakes)
	q := &quicSocket{conn: conn, gate: g, done: make(chan struct{})}
	q.transport = &quic.Transport{
		Conn: conn, ConnectionIDGenerator: ids,
		StatelessResetKey: &secrets.Reset, TokenGeneratorKey: &secrets.Tokens,
		VerifySourceAddress: func(net.Addr) bool { return !limiter.Allow() },
		ConnContext:         q.connContext,
	}
	return q, q.listen()
}

// connectionIDs are a [quic.ConnectionIDGenerator].
type connectionIDs struct{ *packets.Issuer }

// GenerateConnectionID returns an id.
func (c connectionIDs) GenerateConnectionID() (quic.ConnectionID, error) {
	id, err := c.New()
	return quic.ConnectionIDFromBytes(id[:]), err
}

// ConnectionIDLen returns the length of all of them.
func (connectionIDs) ConnectionIDLen() int { return packets.IDLen }

func (q *quicSocket) listen() error {
	early, late := q.quicConfig(true), q.quicConfig(false)
	config := q.quicConfig(true)
	config.GetConfigForClient = func(*quic.ClientInfo) (*quic.Config, error) {
		switch h := q.http3(); {
		case h == nil:
			return nil, errNoConfig
		case h.Allow0RTT:
			return early, nil
		default:
			return late, nil
		}
	}
	l, err := q.transport.ListenEarly(http3.ConfigureTLSConfig(&tls.Config{
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			h := q.http3()
			if h == nil {
				return nil, errNoConfig
			}
			return h.TLS.GetConfigForClient(hello)
		},
		GetEncryptedClientHelloKeys: func(hello *tls.ClientHelloInfo) ([]tls.EncryptedClientHelloKey, error) {
			if h := q.http3(); h != nil && h.TLS.GetEncryptedClientHelloKeys != nil {
				return h.TLS.GetEncryptedClientHelloKeys(hello)
			}
			return nil, nil
		},
	}), config)
	if err != nil {
		return err
	}
	go accept(l)
	return nil
}

func (q *quicSocket) quicConfig(early bool) *quic.Config {
	return &quic.Config{InitialPacketSize: initialPacketSize, Allow0RTT: early, Tracer: qlog.DefaultConnectionTracer}
}

var errNoConfig = errors.New("no config serves HTTP/3 here any more")

// http3 returns what the newest config that serves HTTP/3 has for it, or nil.
func (q *quicSocket) http3() *HTTP3 {
	if at := q.front.Load(); at != nil {
		if e := at.http3.Load(); e != nil {
			return e.http3
		}
	}
	return nil
}

// serverKey is the context key of the server that a connection belongs to.
type serverKey struct{}

// connContext counts a connection whose handshake begins.
func (q *quicSocket) connContext(ctx context.Context, _ *quic.ClientInfo) (context.Context, error) {
	if !q.accepts.Load() {
		return nil, errNoConfig
	}
	e := q.front.Load().http3.Load()
	if e == nil {
		return nil, errNoConfig
	}
	s := e.server.Load()
	s.conns.add(1)
	q.add(1)
	context.AfterFunc(ctx, func() {
		s.conns.add(-1)
		q.add(-1)
	})
	return context.WithValue(ctx, serverKey{}, s), nil
}

// accept has connections served until the listener is closed.
func accept(l *quic.EarlyListener) {
	for {
		c, err := l.Accept(context.Background())
		if err != nil {
			return
		}
		go c.Context().Value(serverKey{}).(*server).serveQUIC(c)
	}
}

// serveQUIC has a front serve the connections of the socket for UDP of its address.
func (f *Fronts) serveQUIC(at *front, q *quicSocket) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at.quic = q
	q.front.Store(at)
	q.accepts.Store(true)
	q.begin()
}

// begin has the socket read as soon as this process may.
func (q *quicSocket) begin() {
	q.beginning.Do(func() {
		go func() {
			if passed := q.gate.passed(); passed != nil {
				select {
				case <-passed:
				case <-q.done:
					return
				}
			}
			q.conn.Begin()
			select {
			case <-q.conn.Alone():
				q.add(0)
			case <-q.done:
			}
		}()
	})
}

// addHead counts another one that has Caddy believe that it listens. It returns false if the socket
// is being closed.
func (q *quicSocket) addHead() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.heads++
	return true
}

// removeHead undoes addHead. With the last one, no more connections are accepted.
func (q *quicSocket) removeHead() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.heads--; q.heads == 0 {
		q.accepts.Store(false)
	}
	q.endIfUnused()
}

// add counts connections.
func (q *quicSocket) add(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.conns += n
	q.endIfUnused()
}

// endIfUnused closes the socket if nobody needs it any more: neither this process nor one before it,
// whose packets this one reads. mu must be held.
func (q *quicSocket) endIfUnused() {
	if q.heads == 0 && q.conns == 0 && q.conn.IsAlone() && !q.closed {
		q.closed = true
		go q.close()
	}
}

func (q *quicSocket) close() {
	defer close(q.done)
	_ = q.transport.Close()
	_ = q.conn.Close()
}
