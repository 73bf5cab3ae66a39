package edge

import (
	"crypto/tls"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/testkit"
)

func init() { parkAfter = 200 * time.Millisecond }

// parkedBy returns how many connections of a server are parked.
func parkedBy(s *Server) (n int) {
	parked.mu.Lock()
	defer parked.mu.Unlock()
	for _, c := range parked.byFD {
		if c != nil && c.server == s {
			n++
		}
	}
	return n
}

// waysToPark calls a test with idle connections, which are parked, over plain TCP and over TLS. Each client has had one
// answer.
func waysToPark(t *testing.T, idleTimeout time.Duration, clients int, test func(t *testing.T, s *serving, clients []*client)) {
	if runtime.GOOS != "linux" {
		t.Skip("connections are parked on Linux alone")
	}
	t.Parallel()
	for name, change := range map[string]func(*http.Server){"plain": func(*http.Server) {}, "TLS": secure} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, true, hello, change, func(std *http.Server) { std.IdleTimeout = idleTimeout })
			var all []*client
			for range clients {
				c := s.dial()
				_ = c.SetDeadline(time.Now().Add(2 * patience))
				c.Conn = &halves{Conn: c.Conn}
				if name == "TLS" {
					c.overTLS()
				}
				get(c, "/a")
				all = append(all, c)
			}
			testkit.WaitFor(t, "the connections to be parked", func() bool { return parkedBy(s.server) == clients })
			test(t, s, all)
		})
	}
}

// halves is a connection that sends in two halves.
type halves struct {
	net.Conn
	between func() // is called then; nil has all sent at once
}

func (h *halves) Write(p []byte) (int, error) {
	if h.between == nil {
		return h.Conn.Write(p)
	}
	n, err := h.Conn.Write(p[:len(p)/2])
	if err == nil {
		h.between()
		var m int
		m, err = h.Conn.Write(p[n:])
		n += m
	}
	return n, err
}

// get makes a request for a path, and wants its answer.
func get(c *client, path string) {
	c.t.Helper()
	c.send("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n")
	if resp, body := c.answer("GET"); resp.StatusCode != http.StatusOK || body != "hello "+path {
		c.t.Errorf("got %v with %q", resp, body)
	}
}

func TestIdleConnectionHasNoGoroutineAndServesTheNextRequest(t *testing.T) {
	waysToPark(t, time.Minute, 100, func(t *testing.T, s *serving, clients []*client) {
		for range 2 {
			testkit.WaitFor(t, "the connections to be parked", func() bool { return parkedBy(s.server) == len(clients) })
			testkit.WaitFor(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() < len(clients) })
			for _, c := range clients {
				get(c, "/b")
			}
		}
	})
}

// The first byte of a head wakes the connection; it need not be all of the head.
func TestIdleConnectionWaitsForTheRestOfARequest(t *testing.T) {
	waysToPark(t, 0, 1, func(t *testing.T, s *serving, clients []*client) {
		c := clients[0]
		for _, piece := range []string{"G", "ET /b HTTP/1.1\r\nHo", "st: x\r\n\r\n"} {
			c.send(piece)
			testkit.WaitFor(t, "the connection to go on", func() bool { return parkedBy(s.server) == 0 })
			time.Sleep(2 * parkAfter) // a limit of the idle time would have ended it by then
		}
		if _, body := c.answer("GET"); body != "hello /b" {
			t.Errorf("got %q", body)
		}
	})
}

// A part of a record of TLS wakes a connection, and is no request.
func TestIdleConnectionWaitsForTheRestOfARecord(t *testing.T) {
	waysToPark(t, time.Minute, 1, func(t *testing.T, s *serving, clients []*client) {
		c := clients[0]
		secure, ok := c.Conn.(*tls.Conn)
		if !ok {
			return // there are no records
		}
		secure.NetConn().(*halves).between = func() {
			testkit.WaitFor(t, "the connection to go on", func() bool { return parkedBy(s.server) == 0 })
			testkit.WaitFor(t, "it to be parked again", func() bool { return parkedBy(s.server) == 1 })
		}
		get(c, "/b")
	})
}

func TestIdleConnectionEndsAfterItsTime(t *testing.T) {
	waysToPark(t, 20*parkAfter, 3, func(t *testing.T, s *serving, clients []*client) {
		for _, c := range clients {
			c.ends()
		}
		wantClosed(s, len(clients))
	})
}

func TestShutdownEndsIdleConnections(t *testing.T) {
	waysToPark(t, time.Minute, 3, func(t *testing.T, s *serving, clients []*client) {
		if err := s.server.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, c := range clients {
			c.ends()
		}
		wantClosed(s, len(clients))
		if n := parkedBy(s.server); n != 0 {
			t.Errorf("%d are left", n)
		}
	})
}

func TestClientThatGoesAwayEndsAnIdleConnection(t *testing.T) {
	waysToPark(t, time.Minute, 3, func(t *testing.T, s *serving, clients []*client) {
		for _, c := range clients {
			c.Close()
		}
		wantClosed(s, len(clients))
		testkit.WaitFor(t, "the connections to be forgotten", func() bool {
			s.server.mu.Lock()
			defer s.server.mu.Unlock()
			return len(s.server.conns) == 0
		})
	})
}

// A request that crosses with the moment in which its connection is parked is not lost.
func TestRequestsCrossWithParking(t *testing.T) {
	waysToPark(t, time.Minute, 50, func(t *testing.T, s *serving, clients []*client) {
		var running sync.WaitGroup
		for i, c := range clients {
			running.Go(func() {
				get(c, "/b")
				// About when it is parked again.
				time.Sleep(parkAfter - 10*time.Millisecond + time.Duration(i)*400*time.Microsecond)
				get(c, "/c")
			})
		}
		running.Wait()
	})
}

// wantClosed wants the server to tell of the end of n connections.
func wantClosed(s *serving, n int) {
	s.t.Helper()
	timeout := time.After(patience)
	for n > 0 {
		select {
		case state := <-s.states:
			if state == http.StateClosed {
				n--
			}
		case <-timeout:
			s.t.Fatalf("%d connections have not ended", n)
		}
	}
}
