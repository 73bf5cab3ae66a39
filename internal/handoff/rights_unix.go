//go:build unix

package handoff

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// rightsSpace is what the control data of a message has room for.
var rightsSpace = syscall.CmsgSpace(4 * maxFiles)

// rights returns the control data that carries descriptors.
func rights(descriptors []int) []byte { return syscall.UnixRights(descriptors...) }

// filesIn returns the files whose descriptors are in control data. Programs that this process
// starts do not get them.
func filesIn(control []byte) (files []*os.File, err error) {
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		fds, err := syscall.ParseUnixRights(&m)
		if err != nil {
			return files, err
		}
		for _, fd := range fds {
			syscall.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "handed over"))
		}
	}
	return files, nil
}

func duplicate(fd uintptr) (int, error) { return unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }

func closeDescriptor(fd int) { _ = syscall.Close(fd) }

func closeOnExec(fd uintptr) { syscall.CloseOnExec(int(fd)) }

// sendMessage sends a datagram with control data.
func sendMessage(socket uintptr, data, control []byte) error {
	return syscall.Sendmsg(int(socket), data, control, nil, 0)
}
