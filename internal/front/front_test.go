package front

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/clientconn"
)

// site is what configs of a test have in common: an address.
type site struct {
	t       *testing.T
	fronts  Fronts
	sockets sockets
	address address
	tls     *tls.Config
	exiting atomic.Bool
	// cut are the connections that had no time to end.
	cut atomic.Int64
}

func newSite(t *testing.T) *site {
	t.Parallel() // most of them wait
	s := &site{t: t, address: tcpAt("127.0.0.1", "0")}
	t.Cleanup(func() {
		if n := s.fronts.wait(patience); n > int(s.cut.Load()) {
			t.Errorf("%d connections are left", n)
		}
	})
	return s
}

// config is one of Caddy's, with its server.
type config struct {
	*Config
	*http.Server
	listener net.Listener
	served   chan error
}

// load makes a config as Caddy does, up to the moment at which it has started.
func (s *site) load(handler http.HandlerFunc, change ...func(*http.Server, *Wrapper)) *config {
	s.t.Helper()
	head, err := s.sockets.listen(context.Background(), s.address, net.ListenConfig{})
	if err != nil {
		s.t.Fatal(err)
	}
	c := &config{Config: NewConfig(&s.fronts), Server: &http.Server{Handler: handler, Protocols: new(http.Protocols)}, served: make(chan error, 1)}
	c.Protocols.SetHTTP1(true)
	c.Protocols.SetUnencryptedHTTP2(true)
	w := &Wrapper{
		Config: c.Config, Exiting: s.exiting.Load, Grace: func() time.Duration { return 0 }, Cut: func(n int) { s.cut.Add(int64(n)) },
		Secure: func(net.Listener) bool { return s.tls != nil },
	}
	c.ConnContext = w.ConnContext
	for _, f := range change {
		f(c.Server, w)
	}
	accepted := clientconn.NewListener(head)
	if s.tls != nil {
		accepted = tls.NewListener(accepted, s.tls)
	}
	c.listener = w.Wrap(accepted)
	go func() { c.served <- c.Serve(c.listener) }()
	return c
}

// start loads a config that starts.
func (s *site) start(handler http.HandlerFunc, change ...func(*http.Server, *Wrapper)) *config {
	s.t.Helper()
	c := s.load(handler, change...)
	c.Config.Start()
	s.t.Cleanup(func() { c.stop(s.t) })
	return c
}

// stop stops a config as Caddy does.
func (c *config) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.Shutdown(ctx); err != nil {
		t.Errorf("the server's Shutdown ends with %v", err)
	}
	// Its Shutdown does not wait for what the front notices of it.
	l, ok := c.listener.(*listener)
	if !ok {
		return
	}
	select {
	case <-l.over:
	case <-ctx.Done():
		t.Error("the front still hands requests to a config that has ended")
	}
}

func answer(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, text)
	}
}

// client makes requests on one connection, and repeats none.
type client struct {
	t *testing.T
	net.Conn
	*bufio.Reader
}

func (s *site) client(c *config) *client {
	s.t.Helper()
	conn := dial(s.t, c.listener)
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &client{s.t, conn, bufio.NewReader(conn)}
}

// ask returns the answer to a request, and whether the connection goes on.
func (c *client) ask() (body string, goesOn bool) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"); err != nil {
		c.t.Fatal(err)
	}
	resp, err := http.ReadResponse(c.Reader, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b), !resp.Close
}

func (c *client) expect(want string, goesOn bool) {
	c.t.Helper()
	if got, on := c.ask(); got != want || on != goesOn {
		c.t.Errorf("the answer is %q, and the connection goes on: %t; instead of %q, %t", got, on, want, goesOn)
	}
}

func TestConnectionsGoOnWithTheNewestConfig(t *testing.T) {
	s := newSite(t)
	first := s.start(answer("first"))
	old := s.client(first)
	old.expect("first", true)
	next := s.start(answer("next"))
	old.expect("next", true)
	first.stop(t)
	old.expect("next", true)
	s.client(next).expect("next", true)
}

// A request that has begun ends with what it began with.
func TestRequestInFlightEndsInItsConfig(t *testing.T) {
	s := newSite(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	first := s.start(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
		answer("first")(w, r)
	})
	slow := s.client(first)
	go func() {
		<-arrived
		s.start(answer("next"))
		first.stop(t)
		close(release)
	}()
	slow.expect("first", true)
	slow.expect("next", true)
}

func TestConfigThatFailsChangesNothing(t *testing.T) {
	s := newSite(t)
	first := s.start(answer("first"))
	old := s.client(first)
	old.expect("first", true)
	for range 10 {
		failing := s.load(answer("failing"))
		old.expect("first", true)
		s.client(first).expect("first", true)
		failing.stop(t)
		failing.Config.Start() // too late
	}
	// One that fails when it has started: Caddy still has things to do then.
	s.start(answer("failing")).stop(t)
	old.expect("first", true)
	s.client(first).expect("first", true)
}

func TestHTTP2GoesOnWithTheNewestConfig(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls %t", secure), func(t *testing.T) {
			s := newSite(t)
			if secure {
				s.tls = testTLS(t)
			}
			first := s.start(answer("first"))
			client, dials := h2Client(t, s, first)
			ask := func(want string) {
				t.Helper()
				if got := post(t, client, s, first); got != want {
					t.Errorf("the answer is %q instead of %q", got, want)
				}
			}
			ask("first")
			s.start(answer("next"))
			ask("next")
			first.stop(t)
			ask("next")
			if n := dials.Load(); n != 1 {
				t.Errorf("the client has made %d connections", n)
			}
		})
	}
}

// Timeouts and protocols are those of a connection for as long as it lives.
func TestConnectionsWithOtherSettingsAreAskedToEnd(t *testing.T) {
	s := newSite(t)
	first := s.start(answer("first"))
	old, idle := s.client(first), s.client(first)
	old.expect("first", true)
	idle.expect("first", true)
	next := s.start(answer("next"), func(std *http.Server, _ *Wrapper) { std.IdleTimeout = time.Hour })
	old.expect("next", false)
	old.expectEnd()
	s.client(next).expect("next", true)
	first.stop(t)
	idle.expectEnd() // when it had some time
	s.start(answer("last"), func(std *http.Server, w *Wrapper) { std.IdleTimeout, w.Settings = time.Hour, "other policies" })
	s.client(next).expect("last", true)
}

func (c *client) expectEnd() {
	c.t.Helper()
	if b, err := io.ReadAll(c.Reader); err != nil || len(b) > 0 {
		c.t.Errorf("the connection ends with %q, %v", b, err)
	}
}

// When nobody listens any more, clients are told to leave. Those that come meanwhile by a
// connection that they have are served.
func TestAddressThatIsGivenUpIsLeftPolitely(t *testing.T) {
	s := newSite(t)
	first := s.start(answer("first"))
	used, idle := s.client(first), s.client(first)
	used.expect("first", true)
	idle.expect("first", true)
	first.stop(t)
	for goesOn := true; goesOn; {
		var got string
		if got, goesOn = used.ask(); got != "first" {
			t.Fatalf("the answer is %q", got)
		}
	}
	used.expectEnd()
	idle.expectEnd()
	if c, err := net.Dial("tcp", first.listener.Addr().String()); err == nil {
		c.Close()
		t.Error("somebody still listens")
	}
}

// Caddy waits for its servers when it exits. They wait for the connections that the front has.
func TestExitWaitsForRequests(t *testing.T) {
	s := newSite(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	first := s.start(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
		answer("first")(w, r)
	})
	slow := s.client(first)
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		slow.expect("first", false)
	}()
	<-arrived
	s.exiting.Store(true)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		first.stop(t)
	}()
	select {
	case <-stopped:
		t.Error("it does not wait for a request")
	case <-time.After(politeTime + 500*time.Millisecond):
	}
	close(release)
	<-answered
	select {
	case <-stopped:
	case <-time.After(patience):
		t.Error("it does not end with the request")
	}
}

func TestExitWaitsNoLongerThanTheGracePeriod(t *testing.T) {
	s := newSite(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	first := s.start(func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-release
	}, func(_ *http.Server, w *Wrapper) {
		w.Grace = func() time.Duration { return 100 * time.Millisecond }
	})
	defer close(release)
	c := s.client(first)
	_, _ = io.WriteString(c.Conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-arrived
	s.exiting.Store(true)
	first.stop(t)
	if n := s.cut.Load(); n != 1 {
		t.Errorf("%d connections are said to be cut", n)
	}
}

func TestExitWithoutConnectionsIsAtOnce(t *testing.T) {
	s := newSite(t)
	first := s.start(answer("first"))
	c := s.client(first)
	c.expect("first", true)
	_ = c.Conn.Close()
	at := first.entryOf(t).server.Load()
	for end := time.Now().Add(patience); at.conns.count() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the connection does not end")
		}
	}
	s.exiting.Store(true)
	began := time.Now()
	first.stop(t)
	if took := time.Since(began); took >= politeTime {
		t.Errorf("it takes %s", took)
	}
}

func (c *config) entryOf(t *testing.T) *entry {
	t.Helper()
	return c.Config.all()[0].entry
}

// A WebSocket is no connection of the server's any more.
func TestConnectionsThatWereTakenOverGoOn(t *testing.T) {
	s := newSite(t)
	taken := make(chan net.Conn, 1)
	first := s.start(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
		}
		taken <- c
	})
	c := s.client(first)
	_, _ = io.WriteString(c.Conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	server := <-taken
	defer server.Close()
	first.stop(t)
	if n := s.fronts.wait(patience); n > 0 {
		t.Errorf("%d connections are waited for", n)
	}
	_, _ = io.WriteString(server, "still here\n")
	if got, err := c.ReadString('\n'); err != nil || got != "still here\n" {
		t.Errorf("the client got %q, %v", got, err)
	}
}

func TestWhatTheServerWouldNotSpeakIsNotSpoken(t *testing.T) {
	s := newSite(t)
	first := s.start(answer("first"), func(std *http.Server, _ *Wrapper) { std.Protocols.SetUnencryptedHTTP2(false) })
	s.client(first).expect("first", true)
	c := s.client(first)
	_, _ = io.WriteString(c.Conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	if got, err := io.ReadAll(c.Reader); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 ") {
		t.Errorf("a client that speaks HTTP/2 gets %q, %v", got, err)
	}
}

// testTLS returns a config with a certificate that httptest has.
func testTLS(t *testing.T) *tls.Config {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	return &tls.Config{Certificates: s.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}}
}

// h2Client returns a client that speaks HTTP/2, and counts its connections.
func h2Client(t *testing.T, s *site, c *config) (*http.Client, *atomic.Int64) {
	t.Helper()
	var dials atomic.Int64
	tr := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	if s.tls != nil {
		tr.Protocols.SetHTTP2(true)
	} else {
		tr.Protocols.SetUnencryptedHTTP2(true)
	}
	tr.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		dials.Add(1)
		var d net.Dialer
		return d.DialContext(ctx, network, c.listener.Addr().String())
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}, &dials
}

// post makes a request that a client cannot repeat.
func post(t *testing.T, client *http.Client, s *site, c *config) string {
	t.Helper()
	scheme := "http"
	if s.tls != nil {
		scheme = "https"
	}
	resp, err := client.Post(scheme+"://"+c.listener.Addr().String(), "text/plain", struct{ io.Reader }{strings.NewReader("hi")})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.ProtoMajor != 2 || (resp.TLS != nil) != (s.tls != nil) {
		t.Errorf("HTTP/%d, %v", resp.ProtoMajor, err)
	}
	return string(b)
}
