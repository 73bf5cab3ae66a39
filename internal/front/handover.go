package front

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A process that takes over from another one gets its sockets (Inherit). Both can accept
// from them: the new one does so from Open on, the old one up to Release.

// Socket is an open socket of this process.
type Socket struct {
	// Name is what another process knows it by.
	Name string
	Conn syscall.Conn
}

// Sockets returns the sockets that configs listen on.
func Sockets() (all []Socket) {
	process.mu.Lock()
	defer process.mu.Unlock()
	for key, s := range process.open {
		if conn, ok := s.Listener.(syscall.Conn); ok && !s.closing() {
			all = append(all, Socket{key, conn})
		}
	}
	return all
}

// SocketName returns the name of the socket that listens on a TCP address.
func SocketName(host, port string) string {
	return address{"tcp", net.JoinHostPort(host, port), 0}.key()
}

// IsTCP reports whether a name is that of a socket for TCP.
func IsTCP(name string) bool { return strings.HasPrefix(name, "tcp") }

// Keep has the sockets for TCP that are open now not be touched when this process ends: the
// service manager keeps them for the next one, with the connections that wait.
func Keep() {
	process.mu.Lock()
	defer process.mu.Unlock()
	for key, s := range process.open {
		if IsTCP(key) {
			s.mu.Lock()
			s.kept = true
			s.mu.Unlock()
		}
	}
}

// Unused returns the names of the sockets that were inherited and that no config has wanted.
func Unused() (names []string) {
	process.mu.Lock()
	defer process.mu.Unlock()
	for name := range process.inherited {
		names = append(names, name)
	}
	return names
}

// Inherit has the sockets of another process used where a config listens on what they do.
// Nothing is accepted before Open. Those that no config wants are closed by Open.
func Inherit(sockets map[string]*os.File) {
	process.mu.Lock()
	defer process.mu.Unlock()
	process.inherited = sockets
	process.gate.close()
}

// Open has this process accept connections.
func Open() { process.begin() }

func (s *sockets) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.inherited {
		shutDown(f)
		_ = f.Close()
	}
	s.inherited = nil
	s.gate.open()
}

// Release has this process accept no connections any more: another one has its sockets.
// Resume undoes it.
func Release() {
	process.mu.Lock()
	defer process.mu.Unlock()
	process.gate.close()
	for _, s := range process.open {
		s.release(true)
	}
}

// Resume has this process accept connections again.
func Resume() {
	process.mu.Lock()
	defer process.mu.Unlock()
	for _, s := range process.open {
		s.release(false)
	}
	process.gate.open()
}

// inherit returns the listener of another process for an address, or nil. s.mu must be held.
func (s *sockets) inherit(a address) (net.Listener, error) {
	f := s.inherited[a.key()]
	if f == nil {
		return nil, nil
	}
	delete(s.inherited, a.key())
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("using the socket of the process before: %w", err)
	}
	return ln, nil
}

// release says whether another process has the socket.
func (s *socket) release(released bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.released = released; s.last != nil {
		return
	}
	if released {
		_ = s.setDeadline(longAgo)
	} else {
		_ = s.setDeadline(time.Time{})
	}
}

// isShared reports whether another process accepts from the socket, or will.
func (s *socket) isShared() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.released || s.kept || s.gate.passed() != nil
}

// keepFile has the file of a Unix socket stay where it is when the socket is closed.
func (s *socket) keepFile() {
	if unix, ok := s.Listener.(*net.UnixListener); ok {
		unix.SetUnlinkOnClose(false)
	}
}

// gate holds connections back as long as it is closed. The zero value is open.
type gate struct {
	// mu guards opened.
	mu sync.Mutex
	// opened is closed when the gate is opened; nil if it is open.
	opened chan struct{}
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened == nil {
		g.opened = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened != nil {
		close(g.opened)
		g.opened = nil
	}
}

// passed returns a channel that is closed when the gate is open, or nil if it is.
func (g *gate) passed() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.opened
}

// Retire asks the connections of all fronts to end. Idle ones are closed after a time. Renew
// has those that come later served as before.
func (f *Fronts) Retire(idle time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, at := range f.byAddr {
		for settings, s := range at.servers {
			delete(at.servers, settings)
			f.retire(s, idle, 0)
		}
	}
}

// Renew has connections that come from now on served as before Retire.
func (f *Fronts) Renew() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, at := range f.byAddr {
		for _, e := range at.entries {
			settings := e.settings + connectionSettings(e.std)
			if at.servers[settings] == nil {
				at.servers[settings] = newServer(at, e.std)
			}
			e.server.Store(at.servers[settings])
		}
	}
}

// Connections counts the connections of clients, without those that were taken over, such as
// WebSockets.
func (f *Fronts) Connections() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.retiring {
		n += s.conns.count()
	}
	for _, at := range f.byAddr {
		for _, s := range at.servers {
			n += s.conns.count()
		}
	}
	return n
}
