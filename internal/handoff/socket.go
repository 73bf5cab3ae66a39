package handoff

import (
	"fmt"
	"net"
	"os"
	"syscall"
)

// Socket is what a process hands over: a socket that it listens on, or another file.
type Socket struct {
	// Name is what the processes know it by, such as tcp/:80.
	Name string
	// Conn is a listener or a file.
	Conn syscall.Conn
}

// descriptor returns a copy of the descriptor, which has to be closed. It leaves alone how the
// description that both share waits: what [net.TCPListener.File] returns would have Accept block a
// thread.
func (s Socket) descriptor() (fd int, err error) {
	raw, err := s.Conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	failed := raw.Control(func(original uintptr) { fd, err = duplicate(original) })
	if failed != nil {
		err = failed
	}
	return fd, err
}

// offer sends sockets, with m the last time.
func (w *wire) offer(sockets []Socket, m message) error {
	for {
		n := min(len(sockets), maxFiles)
		next := message{Kind: kindOffer, More: true}
		if n == len(sockets) {
			next = m
		}
		descriptors := make([]int, 0, n)
		var err error
		for _, s := range sockets[:n] {
			fd, failed := s.descriptor()
			if failed != nil {
				err = fmt.Errorf("copying the descriptor of %s: %w", s.Name, failed)
				break
			}
			descriptors = append(descriptors, fd)
			next.Sockets = append(next.Sockets, s.Name)
		}
		if err == nil {
			err = w.send(next, descriptors...)
		}
		for _, fd := range descriptors {
			closeDescriptor(fd)
		}
		if sockets = sockets[n:]; err != nil || !next.More {
			return err
		}
	}
}

// accept receives what offer has sent.
func (w *wire) accept() (sockets map[string]*os.File, last message, err error) {
	sockets = make(map[string]*os.File)
	for {
		m, err := w.receive(offerTimeout)
		switch {
		case err != nil:
			return sockets, m, err
		case m.Kind == kindRefused:
			return sockets, m, &RefusedError{m.Reason}
		case m.Kind != kindOffer:
			return sockets, m, fmt.Errorf("the running process says %q in place of an offer", m.Kind)
		}
		files, err := w.take(len(m.Sockets))
		if err != nil {
			return sockets, m, err
		}
		for i, name := range m.Sockets {
			sockets[name] = files[i]
		}
		if !m.More {
			return sockets, m, nil
		}
	}
}

// SendDescriptor sends a datagram with the descriptor of a socket, as sd_notify(3) has it.
func SendDescriptor(to *net.UnixConn, text string, s Socket) error {
	fd, err := s.descriptor()
	if err != nil {
		return err
	}
	defer closeDescriptor(fd)
	raw, err := to.SyscallConn()
	if err != nil {
		return err
	}
	// WriteMsgUnix refuses a datagram socket that is connected.
	failed := raw.Control(func(socket uintptr) { err = sendMessage(socket, []byte(text), rights([]int{fd})) })
	if failed != nil {
		err = failed
	}
	return err
}

// CloseOnExec has programs that this process starts not get a file.
func CloseOnExec(f *os.File) {
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(closeOnExec)
	}
}
