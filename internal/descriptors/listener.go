package descriptors

import (
	"net"
	"sync"
	"time"
)

// Listener is a listener for connections of clients. When only the last descriptors are
// left, it lets a connection wait until there are others again: the ones behind it wait in
// the queue of the system, as they do when there is no descriptor at all.
type Listener struct {
	net.Listener
	// waits is called when a connection has to wait.
	waits func()

	closing sync.Once
	closed  chan struct{}
}

// NewListener returns l as a Listener. waits is called when a connection has to wait.
func NewListener(l net.Listener, waits func()) *Listener {
	return &Listener{Listener: l, waits: waits, closed: make(chan struct{})}
}

// waitAgain is the pause between two looks at whether there are descriptors again.
const waitAgain = 50 * time.Millisecond

// Accept implements [net.Listener].
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if socket, ok := c.(*net.TCPConn); err == nil && ok && reserved(socket) {
		l.waits()
		return l.wait(socket), nil
	}
	return c, err
}

// wait returns c when there are descriptors for connections again, and c has one of those:
// it could keep the one that it has for days. A listener that is being closed waits for
// nothing, since nobody comes any more.
func (l *Listener) wait(c *net.TCPConn) *net.TCPConn {
	again := time.NewTicker(waitAgain)
	defer again.Stop()
	for {
		select {
		case <-again.C:
			if c = lowered(c); !reserved(c) {
				return c
			}
		case <-l.closed:
			return c
		}
	}
}

// lowered returns c with the lowest descriptor that can be had.
func lowered(c *net.TCPConn) *net.TCPConn {
	if Scarce() {
		return c
	}
	f, err := c.File()
	if err != nil {
		return c
	}
	defer f.Close()
	moved, err := net.FileConn(f)
	if err != nil {
		return c
	}
	_ = c.Close() // which does not close the socket, as long as it has another descriptor
	return moved.(*net.TCPConn)
}

// Close implements [net.Listener].
func (l *Listener) Close() error {
	l.closing.Do(func() { close(l.closed) })
	return l.Listener.Close()
}
