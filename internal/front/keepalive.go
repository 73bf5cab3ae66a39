package front

import (
	"cmp"
	"net"
	"time"
)

// What [net.KeepAliveConfig] has where it says nothing.
const (
	defaultKeepAlive  = 15 * time.Second
	defaultKeepAlives = 9
)

// byDefault is how the connections of a listener are kept alive that was told nothing of it.
var byDefault = keepAliveOf(net.ListenConfig{})

// keepAliveOf returns how the connections of a listener are kept alive: as [net.ListenConfig] has it.
func keepAliveOf(cfg net.ListenConfig) net.KeepAliveConfig {
	k := cfg.KeepAliveConfig
	if !k.Enable {
		if cfg.KeepAlive < 0 {
			return net.KeepAliveConfig{}
		}
		k = net.KeepAliveConfig{Enable: true, Idle: cfg.KeepAlive}
	}
	k.Idle, k.Interval, k.Count = cmp.Or(k.Idle, defaultKeepAlive), cmp.Or(k.Interval, defaultKeepAlive), cmp.Or(k.Count, defaultKeepAlives)
	return k
}

// prepared returns c with the keep-alive settings of the config, unless it has them from its socket.
func (h *head) prepared(c net.Conn) net.Conn {
	if wanted := keepAliveOf(h.config); wanted != h.keepAlive {
		if socket, ok := c.(*net.TCPConn); ok {
			_ = socket.SetKeepAliveConfig(wanted)
		}
	}
	return c
}
