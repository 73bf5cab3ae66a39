//go:build !race

package sockio

import (
	"syscall"
	"unsafe"
)

// maxUntold is how much a call may copy of which the scheduler is not told, in bytes: what takes a few microseconds.
const maxUntold = 32 << 10

// read is [syscall.Read] for a socket that does not block.
func read(fd int, p []byte) (int, error) { return call(syscall.SYS_READ, syscall.Read, fd, p) }

// write is [syscall.Write] for a socket that does not block.
func write(fd int, p []byte) (int, error) { return call(syscall.SYS_WRITE, syscall.Write, fd, p) }

func call(number uintptr, told func(int, []byte) (int, error), fd int, p []byte) (int, error) {
	if len(p) == 0 || len(p) > maxUntold {
		return told(fd, p)
	}
	// The conversion of the pointer stands in the call, so p stays where it is until the call returns
	// (package unsafe, pattern 4).
	n, _, err := syscall.RawSyscall(number, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	if err != 0 {
		return 0, err
	}
	return int(n), nil
}
