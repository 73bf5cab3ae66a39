package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/parachute-proxy/parachute/bench/internal/wire"
)

// WebSockets are open and idle.
type WebSockets struct {
	conns []net.Conn
}

// opening is how many WebSockets are opened at the same time.
const opening = 32

// ping is a text frame of a client's, masked with zeros (RFC 6455, section 5.2).
var ping = []byte("\x81\x84\x00\x00\x00\x00ping")

// OpenWebSockets opens n WebSockets and sends one message over each and back, so
// that both directions have been in use.
func OpenWebSockets(ctx context.Context, server Server, host, path string, n int) (*WebSockets, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		ws     WebSockets
		mu     sync.Mutex // guards ws and failed
		failed error
		work   = make(chan struct{})
		users  sync.WaitGroup
	)
	for range min(n, opening) {
		users.Go(func() {
			for range work {
				conn, err := openWebSocket(server, host, path)
				mu.Lock()
				if err != nil {
					failed = errors.Join(failed, err)
					cancel()
				} else {
					ws.conns = append(ws.conns, conn)
				}
				mu.Unlock()
			}
		})
	}
	for range n {
		select {
		case work <- struct{}{}:
		case <-ctx.Done():
		}
	}
	close(work)
	users.Wait()
	if failed == nil {
		failed = ctx.Err()
	}
	if failed != nil {
		ws.Close()
		return nil, failed
	}
	return &ws, nil
}

// Check sends one more message over each, and fails if one of them does not come
// back.
func (ws *WebSockets) Check() error {
	for _, conn := range ws.conns {
		if err := roundTrip(conn, conn); err != nil {
			return err
		}
	}
	return nil
}

// Close closes all of them.
func (ws *WebSockets) Close() {
	for _, conn := range ws.conns {
		conn.Close()
	}
}

func openWebSocket(server Server, host, path string) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", server.Addr, timeout)
	if err != nil {
		return nil, fmt.Errorf("opening a WebSocket: %w", err)
	}
	_ = conn.SetDeadline(time.Now().Add(timeout))
	if err := upgrade(conn, host, path); err != nil {
		conn.Close()
		return nil, fmt.Errorf("opening a WebSocket: %w", err)
	}
	return conn, nil
}

func upgrade(conn net.Conn, host, path string) error {
	_, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path, host)
	if err != nil {
		return err
	}
	in := wire.NewReader(conn, 4<<10)
	head, err := in.Head()
	if err != nil {
		return err
	}
	if status := head.Status(); status != 101 {
		return fmt.Errorf("the status was %d", status)
	}
	return roundTrip(conn, in)
}

func roundTrip(conn net.Conn, in io.Reader) error {
	_ = conn.SetDeadline(time.Now().Add(timeout))
	if _, err := conn.Write(ping); err != nil {
		return fmt.Errorf("sending a message: %w", err)
	}
	got := make([]byte, len(ping))
	if _, err := io.ReadFull(in, got); err != nil {
		return fmt.Errorf("waiting for a message to come back: %w", err)
	}
	if string(got) != string(ping) {
		return fmt.Errorf("%q came back instead of %q", got, ping)
	}
	return nil
}
