package forward

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
)

// trackedConn is a connection of a standardTransport's.
type trackedConn struct {
	net.Conn
	of *standardTransport
	// upload, if not nil, ends when it is closed.
	upload atomic.Pointer[bodyAttempt]
}

// endsWith has an upload, whose exchange ends with ctx, end when a connection of ours is
// closed, which net/http does before it waits for the request's body. Over HTTP/2, where
// it does not wait, only the last upload counts.
func endsWith(ctx context.Context, conn net.Conn, upload *bodyAttempt) {
	if tlsConn, ok := conn.(*tls.Conn); ok {
		conn = tlsConn.NetConn()
	}
	if own, ok := conn.(*trackedConn); ok {
		own.upload.Store(upload)
		// The connection is kept; what the upload refers to shall not be.
		context.AfterFunc(ctx, func() { own.upload.CompareAndSwap(upload, nil) })
	}
}

func (c *trackedConn) Close() error {
	if upload := c.upload.Load(); upload != nil {
		_ = upload.Close()
	}
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite lets an upgraded connection be closed in one direction.
func (c *trackedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
