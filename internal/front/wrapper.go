package front

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Config stands for a config of Caddy's and the listeners that it has wrapped.
type Config struct {
	// fronts has the connections, and sockets what they come by.
	fronts  *Fronts
	sockets *sockets

	// cut has it told once that connections were cut.
	cut sync.Once

	// mu guards listeners.
	mu        sync.Mutex
	listeners []*listener
}

// NewConfig returns a Config whose connections belong to f.
func NewConfig(f *Fronts) *Config { return &Config{fronts: f, sockets: &process} }

// Start is to be called when all of the config has started. From then on it gets all
// requests of its addresses. If it is never called, because something of the config fails,
// the config before goes on alone.
func (c *Config) Start() {
	for _, l := range c.all() {
		l.start()
	}
}

func (c *Config) all() []*listener {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*listener(nil), c.listeners...)
}

// Wraps reports whether the config has wrapped any listener.
func (c *Config) Wraps() bool { return len(c.all()) > 0 }

// Wrapper wraps the listeners of one of Caddy's servers, so that its connections go to a
// front.
type Wrapper struct {
	// Config is the config that the server belongs to.
	Config *Config
	// Settings say what a connection has for as long as it lives. When they change, the
	// connections that have others are asked to end.
	Settings string
	// Secure reports whether a listener is one for TLS.
	Secure func(net.Listener) bool
	// Handler serves requests over HTTP/3. HTTP3 returns what is for connections, or nil if none
	// begins by the address of a listener. Both are nil where no front serves HTTP/3.
	Handler http.Handler
	HTTP3   func(net.Listener) *HTTP3
	// Edge says that connections over HTTP/1.1 are served by the edge and not by net/http.
	Edge bool
	// Exiting reports whether the process is exiting. Then the end of the listener lasts for
	// as long as there are connections, but no longer than Grace, if that is not 0.
	Exiting func() bool
	Grace   func() time.Duration
	// Cut is called once with the number of connections that Grace was too short for.
	Cut func(connections int)

	std atomic.Pointer[http.Server]
}

// ConnContext is for [caddyhttp.Server.RegisterConnContext]: there is no other moment at
// which Caddy shows its [http.Server].
func (w *Wrapper) ConnContext(ctx context.Context, _ net.Conn) context.Context {
	if w.std.Load() == nil {
		if std, ok := ctx.Value(http.ServerContextKey).(*http.Server); ok {
			w.std.CompareAndSwap(nil, std)
		}
	}
	return ctx
}

// Wrap returns a listener for Caddy's server in place of l. It has no connections but one,
// which introduces the server.
func (w *Wrapper) Wrap(l net.Listener) net.Listener {
	wrapped := &listener{Listener: l, wrapper: w, guest: newIntroduction(l.Addr(), ""), closed: make(chan struct{}), started: make(chan struct{}), over: make(chan struct{})}
	w.Config.mu.Lock()
	w.Config.listeners = append(w.Config.listeners, wrapped)
	w.Config.mu.Unlock()
	go wrapped.serve()
	return wrapped
}

// listener is what Caddy's server has in place of its listener.
type listener struct {
	net.Listener // below
	wrapper      *Wrapper
	guest        *introduction
	introduced   atomic.Bool
	closing      sync.Once
	// closed is closed by Close.
	closed chan struct{}
	// started is closed by start, which sets entry.
	started  chan struct{}
	starting sync.Once
	entry    *entry
	// over is closed when no connection comes any more.
	over chan struct{}
}

// Accept implements [net.Listener]: it returns the introduction, and then nothing. The
// server waits for Accept when it shuts down. So, when the process exits, it waits for the
// connections that it would have.
func (l *listener) Accept() (net.Conn, error) {
	if l.introduced.CompareAndSwap(false, true) {
		if l.wrapper.Secure(l.Listener) {
			return secureIntroduction{l.guest}, nil
		}
		return l.guest, nil
	}
	<-l.closed
	if l.wrapper.Exiting() {
		<-l.over
		if n := l.wrapper.Config.fronts.wait(l.wrapper.Grace()); n > 0 {
			l.wrapper.Config.cut.Do(func() { l.wrapper.Cut(n) })
		}
	}
	return nil, net.ErrClosed
}

// Close implements [net.Listener].
func (l *listener) Close() error {
	l.closing.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// start has the front hand requests to the server, as soon as that is known.
func (l *listener) start() {
	l.starting.Do(func() {
		select {
		case <-l.guest.met:
		case <-l.guest.ended:
		case <-l.closed:
			return
		}
		select {
		case <-l.closed: // as well
			return
		default:
		}
		l.entry = l.wrapper.entry(l.Listener)
		l.entry.front = l.wrapper.Config.fronts.join(l.Addr(), l.entry)
		l.serveHTTP3()
		close(l.started)
	})
}

// entry returns what a config has of the front of a listener.
func (w *Wrapper) entry(l net.Listener) *entry {
	e := &entry{std: w.std.Load(), handler: w.Handler, edge: w.Edge}
	if w.HTTP3 != nil {
		e.http3 = w.HTTP3(l)
	}
	e.settings = fmt.Sprint(w.Secure(l), e.http3 != nil, w.Edge, w.Settings)
	return e
}

// serveHTTP3 has the front serve what comes by the socket for QUIC of the same address.
func (l *listener) serveHTTP3() {
	if l.entry.http3 == nil {
		return
	}
	if q := l.wrapper.Config.sockets.quicAt(l.Addr()); q != nil {
		l.wrapper.Config.fronts.serveQUIC(l.entry.front, q)
	}
}

// serve hands connections to the front from the moment at which the config has started.
func (l *listener) serve() {
	defer close(l.over)
	select {
	case <-l.started:
	case <-l.closed:
		l.starting.Do(func() {}) // which waits for start, and has it do nothing from here on
		select {
		case <-l.started:
		default:
			return
		}
	}
	defer l.leave()
	l.entry.acceptFrom(l.Listener, l.closed)
}

// acceptFrom hands the connections of a listener to the front, until the listener is closed,
// which closed tells as well, and nothing is left.
func (e *entry) acceptFrom(l net.Listener, closed <-chan struct{}) {
	for pause := time.Duration(0); ; {
		c, err := l.Accept()
		if err == nil {
			pause = 0
			e.front.serve(c, e)
			continue
		}
		select {
		case <-closed:
			return
		default:
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		pause = longer(pause)
		select {
		case <-time.After(pause):
		case <-closed:
		}
	}
}

// leave ends what start began.
func (l *listener) leave() {
	grace := time.Duration(0)
	if l.wrapper.Exiting() {
		grace = l.wrapper.Grace()
	}
	l.wrapper.Config.fronts.leave(l.entry, grace)
}
