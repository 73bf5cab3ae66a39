package rig

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// rawHTTP3 speaks HTTP/3 on one connection after the other, as the server allows it to.
type rawHTTP3 struct {
	RawTarget
	post bool

	conn *http3.ClientConn
	// dialed is told of each connection.
	dialed func()
}

func (c *rawHTTP3) request() error {
	ctx, cancel := context.WithTimeout(context.Background(), c.patience())
	defer cancel()
	for {
		if c.conn == nil {
			conn, err := c.dial(ctx)
			if err != nil {
				return fmt.Errorf("connecting: %w", err)
			}
			c.conn = conn
		}
		err := c.exchange(ctx)
		if err == nil {
			return nil
		}
		c.close()
		if !isUnsent(err) {
			return err
		}
	}
}

func (c *rawHTTP3) dial(ctx context.Context) (*http3.ClientConn, error) {
	config := c.TLS.Clone()
	config.NextProtos = []string{http3.NextProtoH3}
	conn, err := quic.DialAddr(ctx, c.Secure, config, nil)
	if err != nil {
		return nil, err
	}
	c.dialed()
	return new(http3.Transport).NewClientConn(conn), nil
}

func (c *rawHTTP3) exchange(ctx context.Context) error {
	req, err := c.secureRequest(ctx, c.post)
	if err != nil {
		return err
	}
	resp, err := c.conn.RoundTrip(req)
	if err != nil {
		return err
	}
	return checkRaw(resp)
}

// isUnsent reports whether the client has sent no request, since the server has said that it takes
// no more by this connection.
func isUnsent(err error) bool {
	return strings.Contains(err.Error(), "connection in graceful shutdown")
}

// isRejected reports whether the server has said that it has not begun with a request (RFC 9114,
// section 5.2), so that the client may repeat it.
func isRejected(err error) bool {
	of, ok := errors.AsType[*http3.Error](err)
	return ok && of.Remote && of.ErrorCode == http3.ErrCodeRequestRejected
}

func (c *rawHTTP3) close() {
	if c.conn != nil {
		_ = c.conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
		c.conn = nil
	}
}
