package run

import (
	"encoding/json"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// loader loads configs into Caddy. It can leave HTTP/3 out of them: two processes cannot have a
// socket for QUIC both, since each packet goes to one of them only. So during an upgrade, the new
// process begins to serve HTTP/3 when the one before has ended its connections politely, which it
// does as with every change of the config.
type loader struct {
	mu sync.Mutex
	// last is the config that was loaded last, with HTTP/3.
	last []byte
	// withoutHTTP3 leaves it out, and released says that another process has it.
	withoutHTTP3, released bool
}

// load loads a config.
func (l *loader) load(config []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = config
	return l.reload()
}

// reload loads the last config. mu must be held.
func (l *loader) reload() error {
	config := l.last
	if l.withoutHTTP3 {
		var err error
		if config, err = leaveOutHTTP3(config); err != nil {
			return err
		}
	}
	return caddy.Load(config, true)
}

// serveHTTP3 turns HTTP/3 off, because another process has taken over, or on again.
func (l *loader) serveHTTP3(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.released = !on
	l.turn(on)
}

// beginHTTP3 turns HTTP/3 on, unless another process has taken over meanwhile.
func (l *loader) beginHTTP3() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.released {
		l.turn(true)
	}
}

// turn turns HTTP/3 on or off. mu must be held.
func (l *loader) turn(on bool) {
	if l.withoutHTTP3 == !on || caddy.Exiting() { // Caddy would start again what it has stopped
		return
	}
	l.withoutHTTP3 = !on
	if err := l.reload(); err != nil {
		caddy.Log().Named("parachute").Warn("HTTP/3 could not be turned on or off for an upgrade", zap.Bool("on", on), zap.Error(err))
	}
}

// leaveOutHTTP3 returns a config without HTTP/3.
func leaveOutHTTP3(config []byte) ([]byte, error) {
	var c object
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, err
	}
	for _, v := range at(c, "apps", "http", "servers") {
		server, ok := v.(object)
		if !ok {
			continue
		}
		protocols, ok := server["protocols"].([]any)
		if !ok {
			protocols = []any{"h1", "h2", "h3"} // Caddy's default
		}
		server["protocols"] = withoutProtocol(protocols)
		perListener, _ := server["listen_protocols"].([]any)
		for i, p := range perListener {
			if of, ok := p.([]any); ok {
				perListener[i] = withoutProtocol(of)
			}
		}
	}
	return json.Marshal(c)
}

func withoutProtocol(protocols []any) []any {
	left := []any{}
	for _, p := range protocols {
		if p != "h3" {
			left = append(left, p)
		}
	}
	return left
}

const (
	// quicPatience is how long the process before may take to end its connections over HTTP/3.
	quicPatience = 10 * time.Second
	quicLook     = 50 * time.Millisecond
)

// awaitQUIC waits until the process before has closed its socket for QUIC, but not for ever.
func (o *options) awaitQUIC() {
	for end := time.Now().Add(quicPatience); time.Now().Before(end); time.Sleep(quicLook) {
		if pc, err := net.ListenPacket("udp", net.JoinHostPort(o.bind, strconv.Itoa(o.httpsPort))); err == nil {
			_ = pc.Close()
			return
		}
	}
}
