package edge

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/clientconn"
)

// patience is how long a test waits for what has to happen.
const patience = 10 * time.Second

// serving is a server of a test.
type serving struct {
	t      *testing.T
	addr   string
	server *Server
	log    logBuffer
	states chan http.ConnState
}

type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// serve starts a server with a handler: the edge, or net/http's.
func serve(t *testing.T, byEdge bool, handler http.Handler, change ...func(*http.Server)) *serving {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &serving{t: t, addr: l.Addr().String(), states: make(chan http.ConnState, 1000)}
	std := &http.Server{Handler: handler, ErrorLog: newLog(&s.log), Protocols: new(http.Protocols)}
	std.Protocols.SetHTTP1(true)
	std.ConnState = func(_ net.Conn, state http.ConnState) { s.states <- state }
	for _, f := range change {
		f(std)
	}
	l = clientconn.NewListener(l)
	if std.TLSConfig != nil {
		l = tls.NewListener(l, std.TLSConfig)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		_ = std.Close()
		serving.Wait()
	})
	if !byEdge {
		serving.Go(func() { _ = std.Serve(l) })
		return s
	}
	s.server = &Server{Std: std, HandOver: func(c net.Conn) { c.Close() }}
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.server.Start(c)
		}
	})
	return s
}

// client is a client on a connection of a test.
type client struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func (s *serving) dial() *client {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &client{s.t, c, bufio.NewReader(c)}
}

// secure has the client speak TLS from here on.
func (c *client) secure() {
	c.Conn = tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
	c.r = bufio.NewReader(c.Conn)
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads an answer to a request of a method, with its body.
func (c *client) answer(method string) (*http.Response, string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp, string(b)
}

// ends wants the connection to end here.
func (c *client) ends() {
	c.t.Helper()
	if b, err := io.ReadAll(c.r); err != nil || len(b) > 0 {
		c.t.Errorf("got %q, %v where the connection should have ended", b, err)
	}
}

func within(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("waiting for %s took too long", what)
	}
}
