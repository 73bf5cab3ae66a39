package edge

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/clientconn"
)

func newLog(w io.Writer) *log.Logger { return log.New(w, "", 0) }

var hello = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello %s", r.URL.Path) })

func TestConnectionsAreKept(t *testing.T) {
	c := serve(t, true, hello).dial()
	for range 3 {
		c.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
		resp, body := c.answer("GET")
		if resp.StatusCode != 200 || body != "hello /a" || resp.ContentLength != 8 {
			t.Errorf("got %v with %q", resp, body)
		}
	}
	c.send("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if resp, _ := c.answer("GET"); !resp.Close {
		t.Error("the client is not told that the connection ends")
	}
	c.ends()
}

// RFC 9112, section 9.3: who wants the end gets it, whatever else it says.
func TestCloseEndsAConnectionOfHTTP10(t *testing.T) {
	for _, fields := range []string{"Connection: close, keep-alive\r\n", "Connection: keep-alive\r\nConnection: close\r\n"} {
		c := serve(t, true, hello).dial()
		c.send("GET /a HTTP/1.0\r\n" + fields + "\r\n")
		if resp, _ := c.answer("GET"); resp.Header["Connection"] != nil {
			t.Errorf("to %q, the answer has %q", fields, resp.Header["Connection"])
		}
		c.ends()
	}
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	c := serve(t, true, hello).dial()
	var requests strings.Builder
	for i := range 500 {
		fmt.Fprintf(&requests, "GET /%d HTTP/1.1\r\nHost: x\r\n\r\n", i)
	}
	go func() { _, _ = io.WriteString(c.Conn, requests.String()) }()
	for i := range 500 {
		if _, body := c.answer("GET"); body != fmt.Sprintf("hello /%d", i) {
			t.Fatalf("answer %d is %q", i, body)
		}
	}
}

func TestChunkedRequestsKeepTheirConnection(t *testing.T) {
	got := make(chan string, 1)
	c := serve(t, true, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		got <- fmt.Sprint(string(b), err, r.Trailer)
	})).dial()
	for range 3 {
		c.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n3;x=y\r\nabc\r\n0a\r\n0123456789\r\n0\r\nA: b\r\n\r\n")
		if resp, _ := c.answer("POST"); resp.Close {
			t.Error("the connection ends")
		}
		if s := <-got; s != "abc0123456789<nil> map[A:[b]]" {
			t.Errorf("the handler got %s", s)
		}
	}
}

func TestClientThatGoesAwayEndsTheContext(t *testing.T) {
	for name, request := range map[string]string{
		"without a body": "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"with a body":    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
	} {
		t.Run(name, func(t *testing.T) {
			asked, ended := make(chan struct{}), make(chan struct{})
			c := serve(t, true, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.ReadAll(r.Body)
				ctx, cancel := context.WithCancel(r.Context())
				defer cancel()
				close(asked)
				<-ctx.Done()
				close(ended)
			})).dial()
			c.send(request)
			within(t, "the handler", asked)
			c.Close()
			within(t, "the end of the context", ended)
		})
	}
}

func TestWatchKeepsWhatItReads(t *testing.T) {
	next := make(chan struct{})
	c := serve(t, true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/first" {
			done := r.Context().Done()
			<-next
			select {
			case <-done:
				t.Error("the client has not gone")
			default:
			}
		}
		hello(w, r)
	})).dial()
	c.send("GET /first HTTP/1.1\r\nHost: x\r\n\r\n")
	c.send("GET /second HTTP/1.1\r\nHost: x\r\n\r\n")
	close(next)
	for _, want := range []string{"hello /first", "hello /second"} {
		if _, body := c.answer("GET"); body != want {
			t.Errorf("got %q, want %q", body, want)
		}
	}
}

func TestContextEndsWithTheRequest(t *testing.T) {
	contexts := make(chan context.Context, 1)
	called := make(chan struct{})
	c := serve(t, true, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		context.AfterFunc(r.Context(), func() { close(called) })
		if context.AfterFunc(r.Context(), func() { t.Error("a call that was stopped is made") })() != true {
			t.Error("it was not stopped")
		}
		contexts <- r.Context()
	})).dial()
	c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	c.answer("GET")
	ctx := <-contexts
	within(t, "the end", ctx.Done())
	within(t, "the call", called)
	if ctx.Err() != context.Canceled {
		t.Error(ctx.Err())
	}
}

func TestSlowHeadsEndTheConnection(t *testing.T) {
	s := serve(t, true, hello, func(std *http.Server) { std.ReadHeaderTimeout = 50 * time.Millisecond })
	for _, before := range []string{"", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"} {
		c := s.dial()
		if c.send(before); before != "" {
			c.answer("GET")
		}
		c.send("GET / HTTP/1.1\r\nHost")
		c.ends()
	}
}

func TestIdleConnectionsEnd(t *testing.T) {
	s := serve(t, true, hello, func(std *http.Server) { std.IdleTimeout = 50 * time.Millisecond })
	c := s.dial()
	c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	c.answer("GET")
	c.ends()
}

func TestLargeHeadsAreRefused(t *testing.T) {
	s := serve(t, true, hello, func(std *http.Server) { std.MaxHeaderBytes = 10000 })
	c := s.dial()
	c.send("GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 9900) + "\r\n\r\n")
	if resp, _ := c.answer("GET"); resp.StatusCode != 200 {
		t.Error(resp)
	}
	c.send("GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 100000) + "\r\n\r\n")
	if resp, _ := c.answer("GET"); resp.StatusCode != 431 || !resp.Close {
		t.Error(resp)
	}
	c.ends()
}

func TestHandlersThatPanicEndTheConnection(t *testing.T) {
	s := serve(t, true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "abc")
		if r.URL.Path == "/flushed" {
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	}))
	c := s.dial()
	c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	c.ends()
	c = s.dial()
	c.send("GET /flushed HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(resp.Body); string(b) != "abc" || err != io.ErrUnexpectedEOF {
		t.Errorf("got %q, %v", b, err)
	}
	if s.log.String() != "" {
		t.Errorf("it is logged: %s", s.log.String())
	}
}

func TestShutdownServesWhatHasBegun(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	s := serve(t, true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(begun)
			<-goOn
		}
		hello(w, r)
	}))
	idle, slow := s.dial(), s.dial()
	idle.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	idle.answer("GET")
	slow.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
	within(t, "the handler", begun)
	over := make(chan struct{})
	go func() {
		defer close(over)
		if err := s.server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	idle.ends()
	select {
	case <-over:
		t.Error("it does not wait")
	default:
	}
	close(goOn)
	if resp, body := slow.answer("GET"); body != "hello /slow" || !resp.Close {
		t.Errorf("got %v with %q", resp, body)
	}
	within(t, "the end", over)
}

func TestHijackedConnectionsAreTheHandlers(t *testing.T) {
	s := serve(t, true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.Context().Done() // so that it is watched
		w.Header()["Connection"], w.Header()["Upgrade"] = []string{"Upgrade"}, []string{"echo"}
		w.WriteHeader(http.StatusSwitchingProtocols)
		c, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(c, buffered)
		}()
	}))
	c := s.dial()
	c.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly")
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil || resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "echo" {
		t.Fatal(resp, err)
	}
	c.send(" and late")
	got := make([]byte, len("early and late"))
	if _, err := io.ReadFull(c.r, got); err != nil || string(got) != "early and late" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, want := range []http.ConnState{http.StateNew, http.StateActive, http.StateHijacked} {
		if got := <-s.states; got != want {
			t.Errorf("state %v, want %v", got, want)
		}
	}
	if err := s.server.Shutdown(context.Background()); err != nil {
		t.Error(err) // which waits for no such connection
	}
}

// A handler that has had enough of a body says so. The client gets that, whatever it still sends.
func TestAnswersToBodiesThatAreTooLargeArrive(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 1000)); err == nil {
			t.Error("there is no limit")
		}
		http.Error(w, "it is too large", http.StatusRequestEntityTooLarge)
	})
	certificates := httptest.NewTLSServer(nil)
	defer certificates.Close()
	const size = 8 << 20
	for _, secure := range []bool{false, true} {
		for head, end := range map[string]string{
			fmt.Sprintf("Content-Length: %d\r\n\r\n", size):               "",
			fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", size): "\r\n0\r\n\r\n",
		} {
			t.Run(fmt.Sprintf("tls %t, %.10s", secure, head), func(t *testing.T) {
				s := serve(t, true, handler, func(std *http.Server) {
					if secure {
						std.TLSConfig = certificates.TLS
					}
				})
				c := s.dial()
				if secure {
					c.secure()
				}
				c.send("POST / HTTP/1.1\r\nHost: x\r\n" + head)
				for range size / 1024 {
					c.send(strings.Repeat("b", 1024))
				}
				c.send(end)
				if resp, _ := c.answer("POST"); resp.StatusCode != 413 || !resp.Close {
					t.Error(resp)
				}
				c.ends()
			})
		}
	}
}

// What is left of a request is read before its answer, so that the connection can go on, but a client
// that stalls gets its answer nevertheless.
func TestAnswersReachClientsThatStall(t *testing.T) {
	certificates := httptest.NewTLSServer(nil)
	defer certificates.Close()
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls %t", secure), func(t *testing.T) {
			type socketKey struct{}
			var guards clientconn.Guards
			s := serve(t, true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w, r, guarded := guards.Begin(r.Context().Value(socketKey{}).(*clientconn.Conn), w, r)
				defer guarded.Done()
				hello(w, r)
			}), func(std *http.Server) {
				std.ReadHeaderTimeout = patience
				std.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
					socket, _ := below(c)
					return context.WithValue(ctx, socketKey{}, socket)
				}
				if secure {
					std.TLSConfig = certificates.TLS
				}
			})
			c := s.dial()
			if secure {
				c.secure()
			}
			c.send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nthe beginning")
			if resp, body := c.answer("POST"); body != "hello /a" || !resp.Close {
				t.Errorf("got %v with %q", resp, body)
			}
			c.ends()
		})
	}
}

// A goroutine that has served a connection serves the next one, of whichever server.
func TestGoroutinesServeOneConnectionAfterTheOther(t *testing.T) {
	served := make(chan string, 1)
	s := serve(t, true, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served <- goroutine() }))
	seen := make(map[string]bool)
	for i := 0; ; i++ {
		c := s.dial()
		c.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		c.answer("GET")
		c.ends()
		id := <-served
		if seen[id] {
			return
		}
		if seen[id] = true; i == 100 {
			t.Fatal("each connection has a goroutine of its own")
		}
	}
}

// goroutine returns the name of the goroutine that calls it.
func goroutine() string {
	name, _, _ := strings.Cut(string(debug.Stack()), " [")
	return name
}
