package load

import (
	"context"
	"fmt"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
)

// WebSockets are open and idle.
type WebSockets struct {
	open []*rig.WebSocket
}

// OpenWebSockets opens n WebSockets and sends one message over each and back, so
// that both directions have been in use.
func OpenWebSockets(ctx context.Context, server Server, host, path string, n int) (*WebSockets, error) {
	all, err := openAll(ctx, n, func() (*rig.WebSocket, error) { return openWebSocket(server, host, path) })
	return &WebSockets{all}, err
}

// Check sends one more message over each, and fails if one of them does not come
// back.
func (ws *WebSockets) Check() error {
	for _, s := range ws.open {
		if err := roundTrip(s); err != nil {
			return err
		}
	}
	return nil
}

// Close closes all of them.
func (ws *WebSockets) Close() { closeAll(ws.open) }

func openWebSocket(server Server, host, path string) (*rig.WebSocket, error) {
	s, err := rig.DialWebSocket(server.Addr, host, path)
	if err != nil {
		return nil, fmt.Errorf("opening a WebSocket: %w", err)
	}
	if err := roundTrip(s); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func roundTrip(s *rig.WebSocket) error {
	const ping = "ping"
	s.SetDeadline(time.Now().Add(timeout))
	if err := s.Send(ping); err != nil {
		return fmt.Errorf("sending a message: %w", err)
	}
	got, err := s.Receive()
	if err != nil {
		return fmt.Errorf("waiting for a message to come back: %w", err)
	}
	if got != ping {
		return fmt.Errorf("%q came back instead of %q", got, ping)
	}
	return nil
}
