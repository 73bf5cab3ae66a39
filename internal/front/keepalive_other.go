//go:build !linux

package front

import "net"

// keepAlive returns what the connections of a socket have without being told: nothing that is known.
func keepAlive(net.Listener, net.KeepAliveConfig) net.KeepAliveConfig { return net.KeepAliveConfig{} }
