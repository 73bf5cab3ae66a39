package front

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestConnectionsAreKeptAliveAsTheConfigSays, whichever config has opened the socket.
func TestConnectionsAreKeptAliveAsTheConfigSays(t *testing.T) {
	t.Parallel()
	var s sockets
	a := address{"tcp", "127.0.0.1:0", 0}
	for _, c := range []struct {
		config      net.ListenConfig
		idle, count int
	}{
		{net.ListenConfig{}, 15, 9},
		{net.ListenConfig{KeepAlive: 7 * time.Second}, 7, 9},
		{net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 1500 * time.Millisecond, Count: 3}}, 2, 3},
		{net.ListenConfig{KeepAlive: -1}, 0, 0},
	} {
		head, err := s.listen(t.Context(), a, c.config)
		if err != nil {
			t.Fatal(err)
		}
		defer head.Close()
		client, err := net.Dial("tcp", head.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		conn, err := head.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		raw, err := conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		err = raw.Control(func(fd uintptr) {
			get := func(level, option int) int {
				n, err := unix.GetsockoptInt(int(fd), level, option)
				if err != nil {
					t.Error(err)
				}
				return n
			}
			switch on := get(unix.SOL_SOCKET, unix.SO_KEEPALIVE); {
			case on == 0 && c.idle > 0 || on == 1 && c.idle == 0:
				t.Errorf("%+v: keep-alive is %d", c.config, on)
			case on == 1:
				if idle, count := get(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE), get(unix.IPPROTO_TCP, unix.TCP_KEEPCNT); idle != c.idle || count != c.count {
					t.Errorf("%+v: idle for %d s, %d times", c.config, idle, count)
				}
			}
		})
		if err != nil {
			t.Error(err)
		}
	}
}
