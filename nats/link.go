package nats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// link is how this proxy reaches NATS. It begins with the first call of connect.
type link struct {
	address address
	// secret makes the certificates by which the proxies know each other; nil for a NATS of the user's.
	secret *secret
	// server is where the NATS server of this proxy listens; empty without one.
	server string
	// name is that of the proxy, dir where its server keeps its data.
	name, dir string
	logger    *zap.Logger
	// heard is called for each key that comes.
	heard func(key string)

	// connecting holds one token, for whoever connects, and guards made: a connection whose buckets
	// may not have been reached yet.
	connecting chan struct{}
	made       *connection
	current    atomic.Pointer[connection]

	// mu guards what follows.
	mu     sync.Mutex
	closed bool
	// runs is the server of this proxy, and nc the connection, once there is one.
	runs *natsserver.Server
	nc   *nats.Conn
}

// connection is a link that has reached NATS once. It connects again by itself.
type connection struct {
	nc *nats.Conn
	// decisions are on disk, the moment is in memory; see [store].
	decisions, moment *replica
}

func newLink(a address, s *secret, server, name, dir string, logger *zap.Logger) *link {
	return &link{address: a, secret: s, server: server, name: name, dir: dir, logger: logger, connecting: make(chan struct{}, 1)}
}

// connect returns the connection, and makes it if there is none.
func (l *link) connect(ctx context.Context) (*connection, error) {
	if c := l.current.Load(); c != nil {
		return c, nil
	}
	select {
	case l.connecting <- struct{}{}:
		defer func() { <-l.connecting }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if c := l.current.Load(); c != nil {
		return c, nil
	}
	nc, err := l.dial(ctx)
	if err != nil {
		return nil, err
	}
	if l.made == nil {
		js, err := jetstream.New(nc)
		if err != nil {
			return nil, err
		}
		replicas := l.replicas(nc)
		l.made = &connection{
			nc:        nc,
			decisions: newReplica(bucket{js: js, name: l.address.bucket, keeps: true, replicas: replicas}, nc, l.heard),
			moment:    newReplica(bucket{js: js, name: l.address.bucket + "-moment", replicas: replicas}, nc, l.heard),
		}
	}
	for _, r := range []*replica{l.made.decisions, l.made.moment} {
		if err := r.sync(ctx); err != nil {
			return nil, err
		}
	}
	l.current.Store(l.made)
	return l.made, nil
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

// dial starts the server of this proxy, if it has one, and connects to NATS.
func (l *link) dial(ctx context.Context) (*nats.Conn, error) {
	nc, err := l.start()
	if err != nil {
		return nil, err
	}
	for !nc.IsConnected() {
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return nil, cmp.Or(nc.LastError(), err)
		}
	}
	return nc, nil
}

// start starts what of the server and the client has not been started.
func (l *link) start() (*nats.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, nats.ErrConnectionClosed
	}
	if l.server != "" && l.runs == nil {
		s, err := startServer(l.address, l.server, l.secret, l.name, l.dir, l.logger, func() { go l.replaceServer() })
		if err != nil {
			return nil, fmt.Errorf("starting the NATS server of this proxy: %w", err)
		}
		l.runs = s
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

// serverPause is how long a server that has failed is not started again.
const serverPause = time.Second

// replaceServer ends the server of this proxy, which has failed, as when its port is taken, and starts another one.
func (l *link) replaceServer() {
	l.mu.Lock()
	if l.runs != nil && !l.closed {
		l.runs.Shutdown()
		l.runs.WaitForShutdown()
		l.runs = nil
	}
	l.mu.Unlock()
	for {
		time.Sleep(serverPause)
		if _, err := l.start(); err == nil || errors.Is(err, nats.ErrConnectionClosed) {
			return
		} else {
			l.logger.Error("the fleet has one NATS server less for now", zap.Error(err))
		}
	}
}

// begin has the client begin to connect, and to connect again whenever the connection is lost.
func (l *link) begin() (*nats.Conn, error) {
	options := []nats.Option{
		nats.Name("parachute " + l.name), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectWait(200 * time.Millisecond), nats.ReconnectJitter(200*time.Millisecond, 200*time.Millisecond),
		nats.Timeout(requestTimeout), nats.PingInterval(requestTimeout), nats.MaxPingsOutstanding(2),
		// What is written later than it was asked for could be older than what is there.
		nats.ReconnectBufSize(-1),
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
		servers = l.address.urlsFrom(l.server)
		options = append(options, nats.DontRandomize())
	}
	return nats.Connect(servers, options...)
}

// close ends the connection and the server.
func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.nc != nil {
		l.nc.Close()
	}
	if l.runs != nil {
		l.runs.Shutdown()
		l.runs.WaitForShutdown()
	}
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
