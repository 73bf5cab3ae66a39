package clientconn

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/testkit"
)

const connTimeout = 20 * time.Second

// connPair returns both ends of a connection, the second one as our servers get it.
func connPair(t *testing.T) (*net.TCPConn, *Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	c, err := listener{l}.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return client.(*net.TCPConn), c.(*Conn)
}

// startServer starts a server whose connections are ours, and returns its address.
func startServer(t *testing.T, h http.HandlerFunc, configure ...func(*httptest.Server)) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Listener = listener{s.Listener}
	s.Config.ConnContext = withConn
	s.Config.ReadHeaderTimeout, s.Config.IdleTimeout = time.Minute, 5*time.Minute
	for _, f := range configure {
		f(s)
	}
	if s.TLS == nil {
		s.Start()
	} else {
		s.StartTLS()
	}
	t.Cleanup(s.Close)
	return s
}

// dialServer connects to s. The connection ends before s does, which waits for it.
func dialServer(t *testing.T, s *httptest.Server) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(connTimeout))
	return c, bufio.NewReader(c)
}

func send(t *testing.T, c io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}

// wantBody reads an answer.
func wantBody(t *testing.T, br *bufio.Reader, want string) {
	t.Helper()
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != want {
		t.Fatalf("the answer is %.20q (%v) instead of %.20q", b, err, want)
	}
}

func within[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(connTimeout):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// The server reads one byte while it serves a request. It takes nothing for an answer,
// once: a server that asked again would do so forever.
func TestServersReadInTheBackgroundEndsWithNothingOnce(t *testing.T) {
	client, c := connPair(t)
	c.watcher.Store(undecided)
	send(t, client, "xy")
	var one [1]byte
	if n, err := c.Read(one[:]); n != 0 || err != nil {
		t.Errorf("the read in the background returned %d, %v", n, err)
	}
	for _, want := range "xy" {
		if n, err := c.Read(one[:]); n != 1 || err != nil || rune(one[0]) != want {
			t.Errorf("the next read returned %d, %v, %q", n, err, one)
		}
	}
}

// Only the read in the background is for one byte.
func TestOtherReadsWhileARequestIsServedReadSomething(t *testing.T) {
	client, c := connPair(t)
	c.watcher.Store(undecided)
	send(t, client, "xy")
	if n, err := c.Read(make([]byte, 2)); n != 2 || err != nil {
		t.Errorf("a read returned %d, %v", n, err)
	}
}

// What comes before a request is answered is neither lost nor taken for the end,
// whoever reads in the background.
func TestPipelinedRequestsAreAnswered(t *testing.T) {
	for name, watch := range map[string]bool{"unwatched": false, "watched": true} {
		t.Run(name, func(t *testing.T) {
			arrived, release := make(chan struct{}), make(chan struct{})
			s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
				c := Of(r)
				c.beginWatch(r)
				defer c.endWatch()
				if r.URL.Path == "/slow" {
					if watch {
						defer c.OnGone(func() { t.Error("the client has not gone") })()
					}
					arrived <- struct{}{}
					<-release
				}
				_, _ = io.WriteString(w, r.URL.Path)
			})
			c, br := dialServer(t, s)
			for range 20 {
				send(t, c, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
				within(t, "the request", arrived)
				send(t, c, "GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n")
				release <- struct{}{}
				for _, path := range []string{"/slow", "/a", "/b"} {
					wantBody(t, br, path)
				}
			}
			if !watch {
				return
			}
			// Without pipelining, the watch has to be ended by us.
			for range 200 {
				send(t, c, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
				within(t, "the request", arrived)
				release <- struct{}{}
				wantBody(t, br, "/slow")
			}
		})
	}
}

// Requests with a body, which the server reads while our handler runs, are served as
// ever.
func TestBodiesAreReadToTheEnd(t *testing.T) {
	s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		if Of(r).beginWatch(r) {
			t.Error("a request with a body was taken for one without")
		}
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(b)
	})
	c, br := dialServer(t, s)
	body := strings.Repeat("body", 10_000)
	send(t, c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 40000\r\n\r\n"+body)
	wantBody(t, br, body)
	send(t, c, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n1\r\ny\r\n0\r\n\r\n")
	wantBody(t, br, "xy")
}

// The deadline of the socket may come too early, but never ends a read that may wait
// for longer.
func TestEarlyDeadlineOfTheSocketEndsNoRead(t *testing.T) {
	for name, by := range map[string]time.Time{"later": time.Now().Add(time.Hour), "never": {}} {
		t.Run(name, func(t *testing.T) {
			client, c := connPair(t)
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			_ = c.SetReadDeadline(by)
			read := make(chan error, 1)
			go func() {
				_, err := io.ReadFull(c, make([]byte, 2))
				read <- err
			}()
			testkit.WaitFor(t, "the deadline to be moved", func() bool {
				c.mu.Lock()
				defer c.mu.Unlock()
				return c.socketBy.Equal(by)
			})
			send(t, client, "xy")
			if err := within(t, "the read", read); err != nil {
				t.Error(err)
			}
		})
	}
}

// A deadline ends a read, whether that is under way, about to begin or about to find
// that the deadline before it was too early.
func TestDeadlineEndsReads(t *testing.T) {
	_, c := connPair(t)
	for i := range 2000 {
		// The one before strikes at about the time at which the last one is set.
		_ = c.SetReadDeadline(time.Now().Add(time.Duration(i%100) * time.Microsecond))
		_ = c.SetReadDeadline(time.Time{})
		read := make(chan error, 1)
		go func() {
			_, err := c.Read(make([]byte, 2))
			read <- err
		}()
		for range i % 7 {
			runtime.Gosched()
		}
		_ = c.SetReadDeadline(longAgo)
		if err := within(t, "the read", read); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("the read ended with %v", err)
		}
	}
	// One that is still to come, after one that is later.
	_ = c.SetReadDeadline(time.Now().Add(time.Hour))
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	if _, err := c.Read(make([]byte, 2)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the read ended with %v", err)
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	s := startServer(t, func(http.ResponseWriter, *http.Request) {}, func(s *httptest.Server) {
		s.Config.IdleTimeout = 20 * time.Millisecond
	})
	c, br := dialServer(t, s)
	send(t, c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	wantBody(t, br, "")
	if _, err := br.ReadByte(); err != io.EOF {
		t.Errorf("reading from an idle connection: %v", err)
	}
}

func TestSlowHeadersAreRefused(t *testing.T) {
	s := startServer(t, func(http.ResponseWriter, *http.Request) {}, func(s *httptest.Server) {
		s.Config.ReadHeaderTimeout = 20 * time.Millisecond
	})
	c, br := dialServer(t, s)
	for _, part := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HT"} {
		send(t, c, part)
		if strings.HasSuffix(part, "\n") {
			wantBody(t, br, "")
		}
	}
	if b, err := io.ReadAll(br); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 400 ") {
		t.Errorf("read %q, %v after half a request", b, err)
	}
}

// Below TLS, the read in the background is not ours to see.
func TestTLSAndHTTP2AreServed(t *testing.T) {
	for name, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
				if Of(r).beginWatch(r) {
					t.Error("the connection below TLS was taken for the client's")
				}
				b, _ := io.ReadAll(r.Body)
				_, _ = io.WriteString(w, r.Proto+string(b))
			}, func(s *httptest.Server) {
				s.EnableHTTP2, s.TLS = h2, &tls.Config{}
			})
			for _, body := range []string{"", "x", strings.Repeat("x", 100_000)} {
				resp, err := s.Client().Post(s.URL, "text/plain", strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || string(b) != name+body {
					t.Errorf("the answer is %.20q (%v)", b, err)
				}
			}
		})
	}
}

func TestHTTP2WithoutTLSIsServed(t *testing.T) {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		if Of(r).beginWatch(r) {
			t.Error("a request over HTTP/2 was taken for one over HTTP/1.1")
		}
		b, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.Proto+string(b))
	}, func(s *httptest.Server) { s.Config.Protocols = &protocols })
	var h2c http.Protocols
	h2c.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: &h2c}}
	t.Cleanup(client.CloseIdleConnections)
	for _, body := range []string{"x", "xy"} { // of which the first is a frame of one byte
		resp, err := client.Post(s.URL, "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(b) != "HTTP/2.0"+body {
			t.Errorf("the answer is %q (%v)", b, err)
		}
	}
}
