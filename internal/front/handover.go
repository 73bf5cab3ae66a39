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
func Sockets() []Socket { return process.all() }

func (s *sockets) all() (all []Socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, s := range s.open {
		if conn, ok := s.Listener.(syscall.Conn); ok && !s.closing() {
			all = append(all, Socket{key, conn})
		}
	}
	for key, q := range s.quic {
		if !q.closing() {
			all = append(all, Socket{key, q.conn})
		}
	}
	return all
}

// SocketName returns the name of the socket for an address on a network, tcp or udp.
func SocketName(network, host, port string) string {
	return address{network, net.JoinHostPort(host, port), 0}.key()
}

// IsIP reports whether a name is that of a socket for TCP or UDP.
func IsIP(name string) bool { return isTCP(name) || isUDP(name) }

func isTCP(name string) bool { return strings.HasPrefix(name, "tcp") }

func isUDP(name string) bool { return strings.HasPrefix(name, "udp") }

func isUnix(name string) bool { return strings.HasPrefix(name, "unix") }

// Keep has the sockets that are open now not be touched when this process ends: the
// service manager keeps them for the next one, with the connections that wait.
func Keep() {
	process.mu.Lock()
	defer process.mu.Unlock()
	for key, s := range process.open {
		if isTCP(key) {
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

// Inherit has the sockets of another process used where a config listens on what they do, with
// its Secrets, which may be empty. Nothing is accepted before Open. Those that no config wants are
// closed by Open.
func Inherit(sockets map[string]*os.File, secrets []byte) error {
	return process.takeOver(sockets, secrets)
}

func (s *sockets) takeOver(from map[string]*os.File, secrets []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inherited = from
	s.gate.close()
	return s.inheritSecrets(secrets)
}

// Open has this process accept connections.
func Open() { process.begin() }

func (s *sockets) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.adoptQUIC()
	for name, f := range s.inherited {
		if isTCP(name) || isUnix(name) { // others are still needed by the process before
			shutDown(f)
		}
		_ = f.Close()
	}
	s.inherited = nil
	s.gate.open()
}

// Release has this process accept no connections any more: another one has its sockets.
// Resume undoes it.
func Release() { process.release() }

func (s *sockets) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate.close()
	for _, socket := range s.open {
		socket.release(true)
	}
	for _, q := range s.quic {
		q.conn.Release()
	}
}

// Resume has this process accept connections again.
func Resume() { process.resume() }

func (s *sockets) resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, socket := range s.open {
		socket.release(false)
	}
	for _, q := range s.quic {
		q.conn.Resume()
	}
	s.gate.open()
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
				at.servers[settings] = newServer(at, e.std, e.edge)
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
