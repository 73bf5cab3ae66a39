//go:build unix

package descriptors

import "syscall"

// maxReserve is what is kept of a limit that is not very low: for calls of the API, for
// probes, which are at most 64 at a time, for name servers, and for files.
const maxReserve = 128

// limit returns the number of descriptors that traffic may use. It is asked for anew each
// time, because it can be changed while the process runs, and costs less than a connection.
func limit() uint64 {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 1 << 62
	}
	most := uint64(l.Cur) // its type is another on some systems
	return most - min(maxReserve, most/4)
}

// reserved reports whether a connection has a descriptor that is not for traffic.
func reserved(c syscall.Conn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	found := false
	_ = raw.Control(func(fd uintptr) { found = uint64(fd) >= limit() })
	return found
}

// Scarce reports whether there is no descriptor left for another connection.
func Scarce() bool {
	fd, err := syscall.Dup(0) // which is open in every program, or gives an error
	if err != nil {
		return err == syscall.EMFILE
	}
	defer syscall.Close(fd)
	return uint64(fd) >= limit()
}

// Control is a [net.Dialer.Control] that makes no connection of the last descriptors. The
// error is EMFILE, as if there were none.
func Control(_, _ string, c syscall.RawConn) error {
	refused := false
	if err := c.Control(func(fd uintptr) { refused = uint64(fd) >= limit() }); err != nil {
		return err
	}
	if refused {
		return syscall.EMFILE
	}
	return nil
}
