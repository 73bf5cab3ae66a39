//go:build unix

package forward

import (
	"net"
	"syscall"

	"github.com/parachute-proxy/parachute/internal/sockio"
)

// readiness waits for a connection to have something to read, without a buffer to
// read it into.
type readiness struct {
	raw  syscall.RawConn
	look func(fd uintptr) bool
}

// newReadiness returns nil if conn cannot be waited for in this way: it is no
// socket, or, as with TLS, may have something to read that is not in the socket.
func newReadiness(conn net.Conn) *readiness {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return &readiness{raw, somethingArrived}
}

// somethingArrived reports whether a read of a socket would not have to wait.
func somethingArrived(fd uintptr) bool {
	_, err := sockio.TryPeek(int(fd))
	return err != syscall.EAGAIN
}

// wait waits until a read returns at once, be it with an error.
func (r *readiness) wait() { _ = r.raw.Read(r.look) }
