//go:build unix

package sockio

import (
	"io"
	"os"
	"sync"
	"syscall"
)

// Supported says whether sockets can be used without net.
const Supported = true

// TryRead reads from a socket what has arrived. The error is [syscall.EAGAIN] if nothing has; at the end of what the
// other side has sent it returns 0 and nil, as read(2) does.
func TryRead(fd int, p []byte) (int, error) { return repeat(read, fd, p) }

// TryWrite writes to a socket what that takes. The error is [syscall.EAGAIN] if it takes nothing.
func TryWrite(fd int, p []byte) (int, error) { return repeat(write, fd, p) }

// TryPeek looks at the first byte that has arrived on a socket, without taking it. The results are those of TryRead.
func TryPeek(fd int) (int, error) {
	var one [1]byte
	return repeat(func(fd int, p []byte) (int, error) {
		n, _, err := syscall.Recvfrom(fd, p, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return n, err
	}, fd, one[:])
}

// repeat repeats a call that a signal has interrupted.
func repeat(call func(int, []byte) (int, error), fd int, p []byte) (int, error) {
	for {
		n, err := call(fd, p)
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

// Read is the Read of a connection, whose socket is raw.
func Read(raw syscall.RawConn, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	o := operations.Get().(*operation)
	o.p = p
	err := raw.Read(o.read)
	return o.end("read", err)
}

// Write is the Write of a connection, whose socket is raw.
func Write(raw syscall.RawConn, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	o := operations.Get().(*operation)
	o.p = p
	err := raw.Write(o.write)
	return o.end("write", err)
}

// operation is a Read or a Write that is under way.
type operation struct {
	p   []byte
	n   int
	err error
	// read and write are tryRead and tryWrite, as values that are made once.
	read, write func(fd uintptr) bool
}

var operations = sync.Pool{New: func() any {
	o := new(operation)
	o.read, o.write = o.tryRead, o.tryWrite
	return o
}}

func (o *operation) tryRead(fd uintptr) bool {
	o.n, o.err = TryRead(int(fd), o.p)
	if o.err == nil && o.n == 0 {
		o.err = io.EOF
	}
	return o.err != syscall.EAGAIN
}

func (o *operation) tryWrite(fd uintptr) bool {
	for o.n < len(o.p) {
		n, err := TryWrite(int(fd), o.p[o.n:])
		o.n += n
		if o.err = err; err != nil {
			return err != syscall.EAGAIN
		}
	}
	return true
}

// end ends the operation, for which to wait has ended with waiting.
func (o *operation) end(call string, waiting error) (int, error) {
	n, err := o.n, o.err
	o.p, o.n, o.err = nil, 0, nil
	operations.Put(o)
	switch {
	case waiting != nil:
		return n, waiting
	case err == nil || err == io.EOF:
		return n, err
	}
	return n, os.NewSyscallError(call, err)
}
