package sockio

import (
	"os"
	"syscall"
	"time"
)

// Poller tells which of many sockets have something to read, so that not each of them needs a goroutine that waits
// for it. It is an epoll(7) of its own, for which Go's scheduler waits as for a socket.
type Poller struct {
	file   *os.File
	raw    syscall.RawConn
	events [128]syscall.EpollEvent
}

// NewPoller returns a poller, which lasts as long as the process. It fails if the process has no descriptors left.
func NewPoller() (*Poller, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // else os would not have the scheduler wait for it
		_ = syscall.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(fd), "epoll")
	raw, err := file.SyscallConn()
	if err == nil {
		err = file.SetReadDeadline(time.Time{}) // an error if the scheduler cannot wait for it
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return &Poller{file: file, raw: raw}, nil
}

// Watch has Wait tell once that there is something to read from a socket, or that it has come to its end. again says
// that the socket has been watched before. A socket that is closed is not watched any more.
func (p *Poller) Watch(fd int, again bool) error {
	op := syscall.EPOLL_CTL_ADD
	if again {
		op = syscall.EPOLL_CTL_MOD
	}
	var watched error
	err := p.raw.Control(func(epoll uintptr) {
		event := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLONESHOT, Fd: int32(fd)}
		watched = os.NewSyscallError("epoll_ctl", syscall.EpollCtl(int(epoll), op, fd, &event))
	})
	if err == nil {
		err = watched
	}
	return err
}

// Wait waits until there are sockets to tell of, and calls ready for each. One that has been closed in the meantime,
// and whose number another one has, may be among them. The error is [os.ErrDeadlineExceeded] after the time of
// WakeAt. Only one goroutine may wait.
func (p *Poller) Wait(ready func(fd int)) error {
	n := 0
	var waited error
	err := p.raw.Read(func(epoll uintptr) bool {
		n, waited = syscall.EpollWait(int(epoll), p.events[:], 0)
		return n > 0 || waited != nil && waited != syscall.EINTR
	})
	if err == nil && n < 0 {
		err = os.NewSyscallError("epoll_wait", waited)
	}
	if err != nil {
		return err
	}
	for _, e := range p.events[:n] {
		ready(int(e.Fd))
	}
	return nil
}

// WakeAt has Wait return at a time, also one that has begun; never, with the zero time.
func (p *Poller) WakeAt(t time.Time) { _ = p.file.SetReadDeadline(t) }
