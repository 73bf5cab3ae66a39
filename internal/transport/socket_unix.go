//go:build unix

package transport

import (
	"errors"
	"io"
	"net"
	"runtime"
	"syscall"

	"github.com/parachute-proxy/parachute/internal/sockio"
)

// socket reads from a connection, and knows two things that [net.Conn] does not:
// to look whether anything has arrived, and to notice that a read has to wait.
type socket struct {
	nc  net.Conn
	raw syscall.RawConn // nil if nc is no socket

	// These are the parameters of attempt, which is a method value that is made
	// once: a closure for every read would be garbage.
	attempt func(fd uintptr) bool
	request []byte
	buf     []byte
	mayWait bool
	// These are its results. wrote says that a byte of the request was written.
	wrote bool
	n     int
	err   error
}

func (s *socket) init(nc net.Conn) {
	s.nc = nc
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			s.raw = raw
			s.attempt = s.tryRead
		}
	}
}

var (
	// errWouldWait means that nothing has arrived yet.
	errWouldWait = errors.New("nothing has arrived yet")
	// errUnwritten means that the rest of the request, which s.request has, could
	// not be written at once.
	errUnwritten = errors.New("the target takes the request slowly")
)

// read reads into p. If s.request is set, it writes that first, unless anything
// has arrived: then the connection is of no use, and the error is [ErrClosed].
// Without mayWait it returns errWouldWait instead of waiting.
func (s *socket) read(p []byte, mayWait bool) (int, error) {
	if s.raw == nil {
		return s.readPlainly(p, mayWait)
	}
	s.buf, s.mayWait, s.n, s.err = p, mayWait, 0, nil
	err := s.raw.Read(s.attempt)
	s.buf = nil
	if err != nil {
		return 0, err
	}
	return s.n, s.err
}

// readPlainly cannot tell whether it has to wait, so it says it in any case.
func (s *socket) readPlainly(p []byte, mayWait bool) (int, error) {
	switch {
	case len(s.request) > 0:
		return 0, errUnwritten
	case !mayWait:
		return 0, errWouldWait
	}
	return s.nc.Read(p)
}

// tryRead makes one attempt and reports whether it is the last: if not, it is
// called again when something has arrived. The poller is armed before the first
// attempt, so looking and writing in here loses no wake-up. It also means that
// the read that finds nothing, which every read begins with, is our look at the
// connection.
func (s *socket) tryRead(fd uintptr) bool {
	s.n, s.err = sockio.TryRead(int(fd), s.buf)
	switch {
	case s.err == nil && s.n == 0:
		s.err = io.EOF
	case s.err != syscall.EAGAIN:
	case s.request != nil:
		return s.tryWrite(int(fd)) || s.tryAnswer(int(fd))
	case !s.mayWait:
		s.err = errWouldWait
	default:
		return false
	}
	if s.request != nil && s.err != errUnwritten {
		// Whatever it was, it came before the request.
		s.n, s.err = 0, ErrClosed
	}
	return true
}

// tryWrite writes the request and reports whether there is no answer to wait for.
func (s *socket) tryWrite(fd int) bool {
	for len(s.request) > 0 {
		n, err := sockio.TryWrite(fd, s.request)
		if n > 0 {
			s.wrote = true
			s.request = s.request[n:]
		}
		switch {
		case err == syscall.EAGAIN:
			s.err = errUnwritten
			return true
		case err != nil:
			s.err = ErrClosed
			return true
		}
	}
	s.request = nil
	return false
}

// tryAnswer reads what is there of the answer to a request that was just written, and reports whether
// there is anything. A read that finds nothing costs a system call, and the wait for the poller
// more; but while the others have their turn, an application that is quick may have answered.
func (s *socket) tryAnswer(fd int) bool {
	runtime.Gosched()
	s.n, s.err = sockio.TryRead(fd, s.buf)
	if s.err == nil && s.n == 0 {
		s.err = io.EOF
	}
	return s.err != syscall.EAGAIN
}

// quiet reports whether the connection is open and nothing has arrived on it.
func (s *socket) quiet() bool {
	if s.raw == nil {
		return true
	}
	var err error
	rawErr := s.raw.Control(func(fd uintptr) { _, err = sockio.TryPeek(int(fd)) })
	return rawErr == nil && err == syscall.EAGAIN
}
