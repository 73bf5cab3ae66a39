package front

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// sockets are the sockets of a process, by address.
type sockets struct {
	// mu guards what follows, up to gate. It is held while a socket is opened: two configs that want the same
	// address must not both open it.
	mu   sync.Mutex
	open map[string]*socket
	// quic are those for UDP.
	quic map[string]*quicSocket
	// inherited are those of the process before that no config has wanted yet, by key.
	inherited map[string]*os.File
	// secrets are those of the sockets for QUIC; nil as long as there was none.
	secrets *secrets

	// tickets are the keys of TLS session tickets.
	tickets tickets
	// gate is closed while another process has the sockets.
	gate gate
	// serveHTTP3 says that fronts serve HTTP/3.
	serveHTTP3 atomic.Bool
}

// socket is a socket that configs listen on.
type socket struct {
	net.Listener
	// changed has a value when the choice of a head may be another.
	changed chan struct{}
	// done is closed when the socket is.
	done chan struct{}
	gate *gate
	// keepAlive is how the connections are kept alive that it accepts.
	keepAlive net.KeepAliveConfig

	// mu guards what follows.
	mu sync.Mutex
	// heads are those that are open, the newest last.
	heads []*head
	// last is the head that was closed last, which gets what is left. The socket is closed
	// when it has that.
	last *head
	// released says that another process has the socket, too, and accepts from it, and kept that
	// the service manager has it for the next process.
	released, kept bool
}

// listen returns a head of the socket with address a, which it opens if no config has.
func (s *sockets) listen(ctx context.Context, a address, cfg net.ListenConfig) (net.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &head{config: cfg, conns: make(chan net.Conn), closed: make(chan struct{})}
	if known := s.open[a.key()]; known != nil {
		if known.add(h) {
			return h, a.allow()
		}
		<-known.done // it is being closed, so that it can be opened again
	}
	kept := byDefault // by net, which knows nothing of how the socket was opened
	ln, err := s.inherit(a)
	if ln == nil && err == nil {
		if ln, err = s.bind(ctx, a, cfg); err == nil {
			kept = keepAlive(ln, keepAliveOf(cfg))
		}
	}
	if err != nil {
		return nil, err
	}
	if unix, ok := ln.(*net.UnixListener); ok {
		unix.SetUnlinkOnClose(true) // unlike that of one that was inherited
	}
	opened := &socket{Listener: ln, keepAlive: kept, changed: make(chan struct{}, 1), done: make(chan struct{}), gate: &s.gate}
	opened.add(h)
	if s.open == nil {
		s.open = make(map[string]*socket)
	}
	s.open[a.key()] = opened
	go func() {
		opened.accept()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.open[a.key()] == opened {
			delete(s.open, a.key())
		}
	}()
	return h, a.allow()
}

// bind opens a socket. What is done for a connection is done when a head accepts it, since
// each config may want it otherwise. s.mu must be held.
func (s *sockets) bind(ctx context.Context, a address, cfg net.ListenConfig) (net.Listener, error) {
	cfg.KeepAlive, cfg.KeepAliveConfig = -1, net.KeepAliveConfig{}
	if err := a.clear(); err != nil {
		return nil, err
	}
	ln, err := cfg.Listen(ctx, a.network, a.name)
	if err == nil || !isInUse(err) {
		return ln, err
	}
	// The address may overlap with another one of ours: all addresses, and one of them. The
	// system allows that to sockets that say so.
	sharing := s.onPortOf(a)
	if len(sharing) > 0 && shareAddress(sharing) {
		cfg.Control = controlShareAddress
	}
	if ln, again := cfg.Listen(ctx, a.network, a.name); again == nil {
		return ln, nil
	}
	return nil, err
}

// onPortOf returns the open sockets that have the port of a, when those that are being
// closed are. s.mu must be held.
func (s *sockets) onPortOf(a address) (all []syscall.Conn) {
	if a.isUnix() {
		return nil
	}
	for _, other := range s.open {
		if _, p, err := net.SplitHostPort(other.Addr().String()); err != nil || p != a.port() {
			continue
		}
		if other.closing() {
			<-other.done
			continue
		}
		if conn, ok := other.Listener.(syscall.Conn); ok {
			all = append(all, conn)
		}
	}
	return all
}

// add adds a head, if the socket is not being closed.
func (s *socket) add(h *head) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != nil {
		return false
	}
	h.socket = s
	s.heads = append(s.heads, h)
	return true
}

// choose has it looked again at which head gets the next connection. mu must be held.
func (s *socket) choose() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// maxPause is the longest pause after an error of accept, such as that there is no
// descriptor left. net/http has the same.
const maxPause = time.Second

// longer returns the pause after another error.
func longer(pause time.Duration) time.Duration {
	return min(max(2*pause, 5*time.Millisecond), maxPause)
}

// accept hands connections to heads until the last head is closed.
func (s *socket) accept() {
	defer close(s.done)
	defer s.Close()
	for pause := time.Duration(0); ; {
		if passed := s.gate.passed(); passed != nil && !s.closing() {
			select {
			case <-passed:
			case <-s.changed:
			}
			continue
		}
		c, err := s.Accept()
		if s.closing() {
			s.finish(c)
			return
		}
		switch {
		case err == nil:
			pause = 0
			if !s.give(c) {
				s.finish(c)
				return
			}
		case errors.Is(err, net.ErrClosed):
			return
		default:
			pause = longer(pause)
			select {
			case <-time.After(pause):
			case <-s.changed:
			}
		}
	}
}

// give hands c to the newest head that accepts connections, as soon as there is one. It
// returns false if the socket is to be closed meanwhile.
func (s *socket) give(c net.Conn) bool {
	for {
		if s.closing() {
			return false
		}
		var conns chan net.Conn // nobody receives from nil
		var closed chan struct{}
		if h := s.newest(); h != nil {
			conns, closed = h.conns, h.closed
		}
		select {
		case conns <- c:
			return true
		case <-closed:
		case <-s.changed:
		}
	}
}

// newest returns the newest head that has begun to accept, or nil. One that has not may be
// of a config that is about to start, or to fail.
func (s *socket) newest() *head {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.heads) - 1; i >= 0; i-- {
		if s.heads[i].accepts {
			return s.heads[i]
		}
	}
	return nil
}

func (s *socket) closing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last != nil
}

const (
	// queuePause is how long the queue of a socket has to be empty before it is closed:
	// longer than most handshakes take that are under way.
	queuePause = 50 * time.Millisecond
	// maxQueueTime bounds how long a socket that is to be closed takes connections.
	maxQueueTime = 250 * time.Millisecond
)

// finish gives the last head c, which may be nil, and the connections that wait in the
// queue of the system, which would reset them when the socket is closed.
func (s *socket) finish(c net.Conn) {
	var left []net.Conn
	if c != nil {
		left = append(left, c)
	}
	if s.isShared() {
		s.keepFile() // and the queue: both are another process's
	} else {
		left = append(left, s.queued()...)
		shutDown(s.Listener)
	}
	_ = s.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last.accepts {
		s.last.left = left
	} else {
		for _, c := range left {
			_ = c.Close()
		}
	}
	close(s.last.closed)
}

// queued returns the connections that wait in the queue, once no more come.
func (s *socket) queued() (all []net.Conn) {
	quiesce(s.Listener)
	for end := time.Now().Add(maxQueueTime); time.Now().Before(end); {
		_ = s.setDeadline(time.Now().Add(queuePause))
		c, err := s.Accept()
		if err != nil {
			break
		}
		all = append(all, c)
	}
	return all
}

// setDeadline moves the deadline of Accept.
func (s *socket) setDeadline(t time.Time) error {
	ln, ok := s.Listener.(interface{ SetDeadline(time.Time) error })
	if !ok {
		return errors.ErrUnsupported
	}
	return ln.SetDeadline(t)
}
