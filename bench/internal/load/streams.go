package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Streams is a closed loop over HTTP/2: every stream of every connection makes the
// next request when the last one is answered.
type Streams struct {
	ctx    context.Context // of all requests
	cancel context.CancelFunc

	stop  atomic.Bool
	users sync.WaitGroup
	conns []*http.ClientConn
	counts
}

// StartStreams opens n connections and starts to make requests over each, as many
// at a time as there are streams.
func StartStreams(server Server, n, streams int, request Request) (*Streams, error) {
	l := &Streams{}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	for range n {
		conn, err := dialHTTP2(l.ctx, server)
		if err != nil {
			l.close()
			return nil, err
		}
		l.conns = append(l.conns, conn)
	}
	for _, conn := range l.conns {
		for range streams {
			l.users.Go(func() { l.user(conn, request) })
		}
	}
	return l, nil
}

// dialHTTP2 opens a connection over TLS.
func dialHTTP2(ctx context.Context, server Server) (*http.ClientConn, error) {
	transport := &http.Transport{
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			c, err := dial(server)
			if err != nil {
				return nil, err
			}
			tlsConn, ok := c.conn.(*tls.Conn)
			if !ok || tlsConn.ConnectionState().NegotiatedProtocol != "h2" {
				c.conn.Close()
				return nil, errors.New("the proxy does not speak HTTP/2")
			}
			return tlsConn, nil
		},
		Protocols: new(http.Protocols),
	}
	transport.Protocols.SetHTTP2(true)
	conn, err := transport.NewClientConn(ctx, "https", server.Addr)
	if err != nil {
		return nil, fmt.Errorf("starting HTTP/2: %w", err)
	}
	return conn, nil
}

// Stop waits for the requests that are under way.
func (l *Streams) Stop() Result {
	l.stop.Store(true)
	time.AfterFunc(timeout, l.cancel)
	l.users.Wait()
	l.close()
	return l.result()
}

func (l *Streams) close() {
	l.cancel()
	for _, conn := range l.conns {
		conn.Close()
	}
}

func (l *Streams) user(conn *http.ClientConn, request Request) {
	for !l.stop.Load() && l.requestsDone.Load() < maxRequests {
		err := l.exchange(conn, request)
		l.count(err)
		if err != nil {
			pause()
		}
	}
}

func (l *Streams) exchange(conn *http.ClientConn, request Request) error {
	req, err := http.NewRequestWithContext(l.ctx, request.Method, "https://"+request.Host+request.Path, nil)
	if err != nil {
		return err
	}
	resp, err := conn.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	length, err := io.Copy(io.Discard, resp.Body)
	if err != nil {
		return fmt.Errorf("reading a response: %w", err)
	}
	return check(resp.StatusCode, length, request.WantLength)
}
