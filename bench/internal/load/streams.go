package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

// Streams is a closed loop over HTTP/2: every stream of every connection makes the
// next request when the last one is answered.
type Streams struct {
	ctx    context.Context // of all requests
	cancel context.CancelFunc

	stop  atomic.Bool
	users sync.WaitGroup
	conns []*http2.ClientConn
	counts
}

// StartStreams opens n connections and starts to make requests over each, as many
// at a time as there are streams.
func StartStreams(server Server, n, streams int, request Request) (*Streams, error) {
	l := &Streams{}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	for range n {
		c, err := dial(server)
		if err != nil {
			l.close()
			return nil, err
		}
		// Checked here, because the transport would speak HTTP/2 to anybody.
		if tlsConn, ok := c.conn.(*tls.Conn); !ok || tlsConn.ConnectionState().NegotiatedProtocol != http2.NextProtoTLS {
			c.conn.Close()
			l.close()
			return nil, errors.New("the proxy does not speak HTTP/2")
		}
		conn, err := (&http2.Transport{}).NewClientConn(c.conn)
		if err != nil {
			c.conn.Close()
			l.close()
			return nil, fmt.Errorf("starting HTTP/2: %w", err)
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

func (l *Streams) user(conn *http2.ClientConn, request Request) {
	for !l.stop.Load() && l.requestsDone.Load() < maxRequests {
		err := l.exchange(conn, request)
		l.count(err)
		if err != nil {
			pause()
		}
	}
}

func (l *Streams) exchange(conn *http2.ClientConn, request Request) error {
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
