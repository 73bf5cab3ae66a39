//go:build unix

package clientconn

import (
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/sockio"
	"github.com/parachute-proxy/parachute/internal/testkit"
)

// Whoever asks is told that the client goes away, be it before or after, and by an end
// or by a reset.
func TestClientThatGoesAwayIsNoticed(t *testing.T) {
	for name, leave := range map[string]func(*net.TCPConn){
		"end":      func(c *net.TCPConn) { c.Close() },
		"half end": func(c *net.TCPConn) { _ = c.CloseWrite() },
		"reset":    func(c *net.TCPConn) { _ = c.SetLinger(0); c.Close() },
	} {
		for order, before := range map[string]bool{"before": true, "after": false} {
			t.Run(name+" "+order, func(t *testing.T) {
				client, c := connPair(t)
				c.watcher.Store(weWatch)
				gone := make(chan struct{})
				if before {
					leave(client)
				}
				stop := c.OnGone(func() { close(gone) })
				if !before {
					leave(client)
				}
				within(t, "the client's end to be noticed", gone)
				stop()
			})
		}
	}
}

// The server and we must not read both, and one of us has to.
func TestServerWatchesIfItHasBegunTo(t *testing.T) {
	told := make(chan struct{})
	arrived := make(chan struct{})
	s := startServer(t, func(_ http.ResponseWriter, r *http.Request) {
		c := Of(r)
		c.beginWatch(r)
		defer c.endWatch()
		// Whether the server's read has come or not, one of the two contexts ends.
		defer c.OnGone(func() { close(told) })()
		close(arrived)
		untilTold(r, told)
	})
	c, _ := dialServer(t, s)
	send(t, c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	within(t, "the request", arrived)
	c.Close()
	within(t, "the client's end to be noticed", told)
}

// untilTold waits until told is closed, or closes it when the server has noticed that the
// client went away.
func untilTold(r *http.Request, told chan struct{}) {
	select {
	case <-r.Context().Done():
		close(told)
	case <-told:
	}
}

// A request may be sent to one release after the other, and each time somebody wants to
// know that the client goes away. Whoever watches first goes on.
func TestEveryAttemptOfARequestCanBeWatched(t *testing.T) {
	for name, serverFirst := range map[string]bool{"server first": true, "we first": false} {
		t.Run(name, func(t *testing.T) {
			attempted, told := make(chan struct{}), make(chan struct{})
			s := startServer(t, func(_ http.ResponseWriter, r *http.Request) {
				c := Of(r)
				c.beginWatch(r)
				defer c.endWatch()
				if !serverFirst { // else the first attempt asks before the server reads, as a rule
					testkit.WaitFor(t, "the server's read", func() bool { return c.watcher.Load() == weWatch })
				}
				for range 3 {
					c.OnGone(func() { t.Error("the client has not gone") })()
				}
				defer c.OnGone(func() { close(told) })()
				close(attempted)
				untilTold(r, told)
			})
			c, _ := dialServer(t, s)
			send(t, c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			within(t, "the last attempt", attempted)
			c.Close()
			within(t, "the client's end to be noticed", told)
		})
	}
}

// A deadline of the server's that strikes meanwhile is not the client's end, nor is the
// end of the watch.
func TestWatchIsEndedByNothingElse(t *testing.T) {
	client, c := connPair(t)
	c.watcher.Store(weWatch)
	for range 200 {
		_ = c.SetReadDeadline(longAgo)
		_ = c.SetReadDeadline(time.Time{})
		gone := make(chan struct{})
		stop := c.OnGone(func() { close(gone) })
		testkit.WaitFor(t, "the deadline to be taken away", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.socketBy.IsZero()
		})
		stop()
		select {
		case <-gone:
			t.Fatal("the client has not gone")
		default:
		}
		send(t, client, "xy")
		if n, err := c.Read(make([]byte, 2)); n != 2 || err != nil {
			t.Fatalf("a read after the watch returned %d, %v", n, err)
		}
	}
}

// Who has taken the connection may use the socket itself, and its deadlines have to be
// what they seem.
func TestHijackedConnectionsHaveExactDeadlines(t *testing.T) {
	s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		c := Of(r)
		c.beginWatch(r)
		defer c.endWatch()
		c.OnGone(func() { t.Error("the client has not gone") })()
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_ = conn.SetReadDeadline(time.Now().Add(time.Hour))
		_ = conn.SetReadDeadline(longAgo)
		_ = conn.SetReadDeadline(time.Time{})
		_, _ = io.WriteString(conn, "yours")
		raw, err := conn.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Error(err)
			return
		}
		if err := raw.Read(func(fd uintptr) bool { _, err := sockio.TryPeek(int(fd)); return err != syscall.EAGAIN }); err != nil {
			t.Errorf("waiting for the socket: %v", err)
		}
		_, _ = io.CopyN(conn, conn, 1)
	})
	c, br := dialServer(t, s)
	send(t, c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if b, err := br.Peek(5); err != nil || string(b) != "yours" {
		t.Fatalf("read %q, %v", b, err)
	}
	send(t, c, "z")
	if b, err := io.ReadAll(br); err != nil || string(b) != "yoursz" {
		t.Errorf("read %q, %v", b, err)
	}
}
