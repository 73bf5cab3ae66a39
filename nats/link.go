package nats

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/fleet"
)

// link is how this proxy reaches NATS. It begins with the first call of dial.
type link struct {
	address address
	// secret makes the certificates by which the proxies know each other; nil for a NATS of the user's.
	secret *secret
	// server is where the NATS server of this proxy listens; empty without one.
	server string
	// name is that of the proxy, dir where its server keeps its data.
	name, dir string
	logger    *zap.Logger
	// said is what a server has said last for which it is not connected to, and unreached why another one was not reached.
	said, unreached atomic.Pointer[reason]

	// leave has nobody tell the link any more that this process is to run the server, or not.
	leave func()

	// mu guards what follows.
	mu     sync.Mutex
	closed bool
	// runs is the server of this proxy, and nc the connection, once there is one.
	runs *natsserver.Server
	nc   *nats.Conn
	// tries says that somebody tries to start a server in the place of one that has failed.
	tries bool
}

func newLink(a address, s *secret, server, name, dir string, logger *zap.Logger) *link {
	l := &link{address: a, secret: s, server: server, name: name, dir: dir, logger: logger}
	l.leave = fleet.Seat.Add(l)
	return l
}

// replicas returns on how many servers the buckets are.
func (l *link) replicas(nc *nats.Conn) int {
	switch {
	case l.secret != nil:
		return len(l.address.servers)
	case nc.ConnectedClusterName() != "":
		return 3
	}
	return 1
}

// reason is why there is no connection.
type reason struct {
	err error
	at  time.Time
}

// reasonAge is how long a reason counts: by then, every server is tried again.
const reasonAge = 10 * time.Second

// note keeps a reason.
func note(r *atomic.Pointer[reason], err error) { r.Store(&reason{err, time.Now()}) }

// newest returns a reason that counts; nil if there is none.
func newest(r *atomic.Pointer[reason]) error {
	if why := r.Load(); why != nil && time.Since(why.at) < reasonAge {
		return why.err
	}
	return nil
}

// dial starts the server of this proxy, if it has one, and connects to NATS. Its error says why the servers were not
// reached: what one has said, if one was reached.
func (l *link) dial(ctx context.Context) (*nats.Conn, error) {
	nc, err := l.start()
	if err != nil {
		return nil, err
	}
	for !nc.IsConnected() {
		if err := nc.LastError(); err != nil {
			note(&l.said, err) // the client forgets it when it has not reached the next server
		}
		if err := sleep(ctx, retryPause/5); err != nil {
			return nil, l.why(err)
		}
	}
	return nc, nil
}

// why returns why the servers are not reached, of which a context has ended with err.
func (l *link) why(err error) error { return cmp.Or(newest(&l.said), newest(&l.unreached), err) }

// start starts what of the server and the client has not been started.
func (l *link) start() (*nats.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, nats.ErrConnectionClosed
	}
	if !l.tries {
		err := l.serve()
		if isPortTaken(err) {
			l.logger.Error("the NATS server of this proxy has failed, and is started again", zap.Error(err))
			go l.replaceServer()
		} else if err != nil {
			return nil, err
		}
	}
	if l.nc == nil {
		nc, err := l.begin()
		if err != nil {
			return nil, err
		}
		l.nc = nc
	}
	return l.nc, nil
}

// serve starts the server of this proxy, if this process is to run it and it does not run. mu must be held.
func (l *link) serve() error {
	if l.closed || l.server == "" || l.runs != nil || !fleet.Seat.Has() {
		return nil
	}
	s, err := startServer(l.address, l.server, l.secret, l.name, l.dir, l.logger, func() { go l.replaceServer() })
	if err != nil {
		return fmt.Errorf("starting the NATS server of this proxy: %w", err)
	}
	l.runs = s
	return nil
}

// serverPause is how long a server that has failed is not started again.
const serverPause = time.Second

// replaceServer ends the server of this proxy, which has failed, as when its port is taken, and starts another one.
func (l *link) replaceServer() {
	l.mu.Lock()
	isTried := l.tries
	l.tries = true
	l.endServer()
	l.mu.Unlock()
	if isTried {
		return
	}
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.tries = false
	}()
	for {
		time.Sleep(serverPause)
		l.mu.Lock()
		err := l.serve()
		l.mu.Unlock()
		if err == nil {
			return
		}
		l.logger.Error("the fleet has one NATS server less for now", zap.Error(err))
	}
}

// endServer ends the server of this proxy, if it runs. mu must be held.
func (l *link) endServer() {
	if l.runs != nil {
		l.runs.Shutdown()
		l.runs.WaitForShutdown()
		l.runs = nil
	}
}

// sitTimeout is how long the server of a process that takes over may take to start. Deploys wait meanwhile.
const sitTimeout = 8 * time.Second

// Sit implements [fleet.Occupant]: the process of this proxy that ran the server before has ended that, or has died.
func (l *link) Sit() error {
	if l.server == "" {
		return nil
	}
	l.mu.Lock()
	err := l.serve()
	s := l.runs
	l.mu.Unlock()
	switch {
	case err != nil:
		go l.replaceServer()
		return err
	case s != nil && !s.ReadyForConnections(sitTimeout):
		return fmt.Errorf("the NATS server of this proxy takes no connections within %s", sitTimeout)
	}
	return nil
}

// Rise implements [fleet.Occupant]: another process of this proxy is about to run the server. The connection goes on.
func (l *link) Rise() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endServer()
}

// retryPause is how long the client waits at least before it tries the next server, and up to twice as long. It is told of what
// a server has said only until then; see dial.
const retryPause = 100 * time.Millisecond

// roundRobin has the client try one server after the other. Of its own accord it makes a pause only when it has
// tried all of them.
func roundRobin() nats.ReconnectToServerHandler {
	tried, at := -1, time.Time{}
	return func(pool []nats.Server, _ nats.ServerInfo) (*nats.Server, time.Duration) {
		tried = (tried + 1) % len(pool)
		pause := retryPause + rand.N(retryPause)
		if time.Since(at) > reasonAge {
			pause = 0 // a connection has broken that was there for long
		}
		at = time.Now()
		return &pool[tried], pause
	}
}

// begin has the client begin to connect, and to connect again whenever the connection is lost.
func (l *link) begin() (*nats.Conn, error) {
	options := []nats.Option{
		nats.Name("parachute " + l.name), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectToServer(roundRobin()),
		nats.IgnoreAuthErrorAbort(), // a NATS that refuses a password may take it later
		nats.Timeout(requestTimeout), nats.PingInterval(requestTimeout), nats.MaxPingsOutstanding(2),
		// What is written later than it was asked for could be older than what is there.
		nats.ReconnectBufSize(-1),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { note(&l.unreached, err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { l.logger.Debug("nats", zap.Error(err)) }),
	}
	if l.secret != nil {
		config, err := l.secret.tls(l.name)
		if err != nil {
			return nil, err
		}
		options = append(options, nats.Secure(config))
	}
	servers := l.address.urls()
	if l.server != "" {
		if servers = l.address.urlsFrom(l.server); !fleet.Seat.Has() {
			servers = l.address.urlsUpTo(l.server) // which ends before this process runs it
		}
		options = append(options, nats.DontRandomize())
	}
	return nats.Connect(servers, options...)
}

// Destruct ends the connection and the server. It implements [caddy.Destructor].
func (l *link) Destruct() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.leave()
	if l.nc != nil {
		l.nc.Close()
	}
	l.endServer()
	return nil
}

// sleep returns the cause of ctx if that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
