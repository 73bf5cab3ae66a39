package integration

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sd_notify(3): systemd starts what depends on the proxy when it is ready, and
// not before.
func TestServiceManagerIsNotified(t *testing.T) {
	p := newProxy(t)
	path := filepath.Join(p.Dir, "notify.sock")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	defer socket.Close()
	p.Env = []string{"NOTIFY_SOCKET=" + path}
	must(t, p.Start())
	expectNotification(t, socket, "READY=1")
	_, err = p.Stop(patience)
	must(t, err)
	expectNotification(t, socket, "STOPPING=1")
}

func expectNotification(t *testing.T, socket *net.UnixConn, want string) {
	t.Helper()
	must(t, socket.SetReadDeadline(time.Now().Add(patience)))
	message := make([]byte, 4096)
	for {
		n, err := socket.Read(message)
		if err != nil {
			t.Fatalf("waiting for %s: %v", want, err)
		}
		if strings.Contains(string(message[:n]), want) {
			return
		}
	}
}
