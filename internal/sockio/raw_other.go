//go:build unix && (!linux || race)

package sockio

import "syscall"

// With the race detector, package syscall says that what is written happens before it is read, on which tests rely that
// have both ends of a connection.

func read(fd int, p []byte) (int, error) { return syscall.Read(fd, p) }

func write(fd int, p []byte) (int, error) { return syscall.Write(fd, p) }
