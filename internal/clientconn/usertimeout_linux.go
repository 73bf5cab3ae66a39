package clientconn

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const hasUserTimeout = true

// setUserTimeout has the system close a TCP connection on which something that was
// sent stays untaken for longer than d: unacknowledged, or behind a window that the
// client keeps shut (tcp(7), TCP_USER_TIMEOUT).
func setUserTimeout(c net.Conn, d time.Duration) {
	for {
		wrapped, ok := c.(interface{ NetConn() net.Conn }) // TLS, or ours
		if !ok {
			break
		}
		c = wrapped.NetConn()
	}
	socket, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	})
}
