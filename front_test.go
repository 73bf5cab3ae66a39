package parachute

import (
	"net"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// A front serves HTTP/3 on the addresses for which a config asks for it, and on no other.
func TestListenAddressesAreKnownByTheirSockets(t *testing.T) {
	for _, tt := range []struct {
		listen string
		ip     string
		port   int
		want   bool
	}{
		{"parachute/:443", "::", 443, true},
		{"parachute4/:443", "0.0.0.0", 443, true},
		{"parachute/:443", "127.0.0.1", 443, false},
		{"parachute/127.0.0.1:443", "127.0.0.1", 443, true},
		{"parachute/127.0.0.1:443", "127.0.0.2", 443, false},
		{"parachute/[::1]:443", "::1", 443, true},
		{"parachute/localhost:443", "127.0.0.1", 443, true},
		{"parachute/:8000-8010", "::", 8005, true},
		{"parachute/:8000-8010", "::", 8011, false},
	} {
		listen, err := caddy.ParseNetworkAddress(tt.listen)
		if err != nil {
			t.Fatal(err)
		}
		if got := listensAt(listen, &net.TCPAddr{IP: net.ParseIP(tt.ip), Port: tt.port}); got != tt.want {
			t.Errorf("%s listens at %s, port %d: %t", tt.listen, tt.ip, tt.port, got)
		}
	}
}
