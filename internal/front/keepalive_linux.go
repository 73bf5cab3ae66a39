package front

import (
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// keepAlive has all connections that a socket accepts be kept alive: they have what it has (tcp(7)), which
// saves four calls of the system for each. It returns what they have then.
func keepAlive(ln net.Listener, k net.KeepAliveConfig) net.KeepAliveConfig {
	socket, ok := ln.(*net.TCPListener)
	if !ok || !k.Enable || k.Idle < 0 || k.Interval < 0 || k.Count < 0 { // which net leaves to the system
		return net.KeepAliveConfig{}
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return net.KeepAliveConfig{}
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = errors.Join(
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1),
			unix.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds(k.Idle)),
			unix.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds(k.Interval)),
			unix.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, unix.TCP_KEEPCNT, k.Count),
		)
	})
	if err != nil || failed != nil {
		return net.KeepAliveConfig{}
	}
	return k
}

// seconds returns d in whole seconds, as net has it: no less than d.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
