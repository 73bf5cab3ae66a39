package front

import (
	"net"
	"slices"
	"sync"
)

// head is what a config has of a socket.
type head struct {
	*socket
	config net.ListenConfig
	conns  chan net.Conn
	// closed is closed when the head is, and has all that is left for it.
	closed  chan struct{}
	closing sync.Once

	// The socket's mu guards what follows.

	// accepts says that Accept has been called.
	accepts bool
	// left are the last connections.
	left []net.Conn
}

// Accept implements [net.Listener]. With the first call, the head takes the connections
// from the heads before it.
func (h *head) Accept() (net.Conn, error) {
	h.begin()
	select {
	case c := <-h.conns:
		return h.prepared(c), nil
	case <-h.closed:
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.left) == 0 {
		return nil, &net.OpError{Op: "accept", Net: h.Addr().Network(), Addr: h.Addr(), Err: net.ErrClosed}
	}
	c := h.left[0]
	h.left = h.left[1:]
	return h.prepared(c), nil
}

func (h *head) begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.accepts {
		h.accepts = true
		h.choose()
	}
}

// Close implements [net.Listener]. If the head is the last one of its socket, Accept
// returns what is left for it, and the socket is closed.
func (h *head) Close() error {
	h.closing.Do(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.heads = slices.DeleteFunc(h.heads, func(other *head) bool { return other == h })
		if len(h.heads) > 0 {
			close(h.closed)
		} else {
			h.last = h
			_ = h.setDeadline(longAgo)
		}
		h.choose()
	})
	return nil
}
