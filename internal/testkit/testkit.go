package testkit

import (
	"bufio"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Timeout bounds every wait of a test. Nothing is expected to take that long.
const Timeout = 20 * time.Second

// RefusedAddress is an address at which nothing listens: tcpmux, RFC 1078.
const RefusedAddress = "127.0.0.1:1"

// NewRand returns a random source whose seed is in the log of a test that fails.
func NewRand(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// Receive returns the next value of ch.
func Receive[T any](t testing.TB, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(Timeout):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// WaitFor returns when done returns true, for what nobody tells of.
func WaitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Timeout); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// Milliseconds returns a duration of n milliseconds for a request.
func Milliseconds(n int) *api.Duration { return new(api.Duration(n) * api.Duration(time.Millisecond)) }

func Listen(t testing.TB, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// SocketPath returns a path for a Unix socket: unlike a port, nobody else takes it
// between two listeners. Directories of tests have names too long for a socket.
func SocketPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "app")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "app.sock")
}

// rawApp is a server that answers the nth connection as a test says.
func StartRawApp(t testing.TB, answer func(n int, conn net.Conn, r *bufio.Reader)) string {
	t.Helper()
	l := Listen(t, "tcp", "127.0.0.1:0")
	go func() {
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(Timeout))
				answer(n, conn, bufio.NewReader(conn))
			}()
		}
	}()
	return l.Addr().String()
}
