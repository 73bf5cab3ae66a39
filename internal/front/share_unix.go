//go:build unix

package front

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

func isInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

// shareAddress has all sockets share their address with others of this user
// (SO_REUSEPORT).
func shareAddress(all []syscall.Conn) bool {
	for _, socket := range all {
		raw, err := socket.SyscallConn()
		if err != nil || controlShareAddress("", "", raw) != nil {
			return false
		}
	}
	return true
}

// shutDown has a socket listen no more, in the process before this one either, which may have it for
// as long as that stays: clients would wait there, and nobody could open the address again.
func shutDown(socket any) {
	conn, ok := socket.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := conn.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
	}
}

// controlShareAddress is a [net.ListenConfig.Control].
func controlShareAddress(_, _ string, c syscall.RawConn) error {
	var failed error
	if err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}); err != nil {
		return err
	}
	return failed
}
