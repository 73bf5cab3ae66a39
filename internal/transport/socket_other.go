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

func (s *socket) read(p []byte, _ bool) (int, error) {
	if len(s.request) > 0 {
		return 0, errUnwritten
	}
	return s.nc.Read(p)
}

func (s *socket) quiet() bool { return true }
