package clients

import (
	"net"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// keptPort keeps the port of an app that has stopped. The system would give it to the app of another test at
// once, which would answer what is sent to the one that has stopped.
type keptPort struct {
	// fd is a socket that is bound to the port; 0 for none.
	fd atomic.Int64
}

// keep binds the port of a listener that has been closed. The port refuses connections then.
func (k *keptPort) keep(addr net.Addr) {
	tcp := addr.(*net.TCPAddr)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) // connections of the app may linger
	if unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte(tcp.IP.To4()), Port: tcp.Port}) != nil || !k.fd.CompareAndSwap(0, int64(fd)) {
		_ = unix.Close(fd)
		return
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 0) // for the port not to be given to another one
}

// release gives the port free, at the end of a test.
func (k *keptPort) release() {
	if fd := k.fd.Swap(0); fd != 0 {
		_ = unix.Close(int(fd))
	}
}
