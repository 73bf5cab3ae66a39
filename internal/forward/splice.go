package forward

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// splicer has the system move what one side of an upgraded connection sends to the
// other, without a copy in this process (splice(2), by way of [net.TCPConn.ReadFrom]).
// It is for protocols whose boundaries nobody looks for.
type splicer struct {
	dst *net.TCPConn
	src socketConn
	// closing reports whether the connection is being closed. Whoever closes it says so
	// first and sets a deadline of src then.
	closing func() bool
}

// socketConn is a connection that can be spliced from: a socket and nothing above it.
type socketConn interface {
	net.Conn
	syscall.Conn
}

// newSplicer returns nil if dst and src cannot be spliced.
func newSplicer(dst, src net.Conn, closing func() bool) *splicer {
	to, _ := bareSocket(dst).(*net.TCPConn)
	from, _ := bareSocket(src).(socketConn)
	if to == nil || from == nil {
		return nil
	}
	return &splicer{to, from, closing}
}

// bareSocket returns the connection below one that adds nothing to what is sent.
func bareSocket(conn net.Conn) net.Conn {
	if wrapper, ok := conn.(interface{ NetConn() net.Conn }); ok {
		if _, isSocket := conn.(syscall.Conn); isSocket { // TLS is none
			return wrapper.NetConn()
		}
	}
	return conn
}

// spliceIdle is for how long a splicer waits for more. It holds a pipe meanwhile.
const spliceIdle = 50 * time.Millisecond

// move moves what arrives until there is nothing more for a moment. It returns io.EOF
// when src has ended, or when the connection is being closed.
func (s *splicer) move() (int64, error) {
	_ = s.src.SetReadDeadline(time.Now().Add(spliceIdle))
	n, err := s.dst.ReadFrom(s.src)
	_ = s.src.SetReadDeadline(time.Time{})
	switch {
	case err == nil:
		return n, io.EOF
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return n, err
	case s.closing():
		// Its deadline may have come before ours. If it comes later, it ends the next
		// read.
		return n, io.EOF
	}
	return n, nil
}
