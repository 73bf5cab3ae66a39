//go:build unix

package packets

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketPair returns a pair of sockets that carry datagrams, the second of which programs that this
// process starts do not get.
func socketPair() (ours, theirs *os.File, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		return nil, nil, err
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	return os.NewFile(uintptr(fds[0]), "relay"), os.NewFile(uintptr(fds[1]), "relay"), nil
}

// relayBuffer is how much may be on its way to another process, in bytes, as far as the system
// allows: it is that of the sender.
const relayBuffer = 4 << 20

func growBuffer(conn *net.UnixConn) { _ = conn.SetWriteBuffer(relayBuffer) }

// sendNow sends a datagram, and does not wait for room.
func sendNow(fd uintptr, b []byte) error {
	return unix.Send(int(fd), b, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

// isFull reports whether a datagram did not find room.
func isFull(err error) bool {
	return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.EINTR) || errors.Is(err, unix.EMSGSIZE)
}
