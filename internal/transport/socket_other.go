//go:build !unix

package transport

import (
	"errors"
	"net"
)

// socket reads from a connection. Without system calls of its own it cannot look
// whether anything has arrived: a pooled connection is tried as it is.
type socket struct {
	nc      net.Conn
	request []byte
	wrote   bool
}

func (s *socket) init(nc net.Conn) { s.nc = nc }

var (
	errWouldWait = errors.New("nothing has arrived yet")
	errUnwritten = errors.New("the request has to be written")
)

// read cannot tell whether it has to wait, so it says it in any case.
func (s *socket) read(p []byte, mayWait bool) (int, error) {
	switch {
	case len(s.request) > 0:
		return 0, errUnwritten
	case !mayWait:
		return 0, errWouldWait
	}
	return s.nc.Read(p)
}

func (s *socket) quiet() bool { return true }
