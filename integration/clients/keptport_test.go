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
	fd, err := bind(addr.(*net.TCPAddr).Port)
	if err == nil && !k.fd.CompareAndSwap(0, int64(fd)) {
		_ = unix.Close(fd)
	}
}

// bind returns a socket that has a port of the loopback address and does not listen; any port for 0.
func bind(port int) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	// Connections of whoever had the port may linger.
	if port != 0 {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port}); err != nil {
		_ = unix.Close(fd)
		return 0, err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 0) // for the port not to be given to another one
	return fd, nil
}

// release gives the port free, at the end of a test.
func (k *keptPort) release() {
	if fd := k.fd.Swap(0); fd != 0 {
		_ = unix.Close(int(fd))
	}
}
