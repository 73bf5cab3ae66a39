//go:build unix

package front

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/sys/unix"

	"github.com/parachute-proxy/parachute/internal/testkit"
)

// http3Site is a site with HTTP/3 on the port of its TCP socket.
type http3Site struct {
	*site
	// early has clients send requests with their first packet.
	early bool
}

func newHTTP3Site(t *testing.T) *http3Site {
	s := newSite(t)
	s.tls, s.address = testTLS(t), tcpAt("127.0.0.1", freePort(t))
	return &http3Site{site: s}
}

// freePort returns a port that nobody has for TCP or UDP.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		probe, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		packets, err := net.ListenPacket("udp", probe.Addr().String())
		probe.Close()
		if err == nil {
			packets.Close()
			_, port, _ := net.SplitHostPort(probe.Addr().String())
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

// h3Config is a config with the socket for UDP that Caddy has.
type h3Config struct {
	*config
	head *udpHead
}

// start starts a config that serves HTTP/3.
func (s *http3Site) start(handler http.HandlerFunc, change ...func(*http.Server, *Wrapper)) *h3Config {
	s.t.Helper()
	c := &h3Config{config: s.load(handler, append([]func(*http.Server, *Wrapper){func(_ *http.Server, w *Wrapper) {
		w.Config.sockets = &s.sockets
		w.Handler = handler
		w.HTTP3 = func(net.Listener) *HTTP3 {
			return &HTTP3{TLS: &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.tls, nil }}, Allow0RTT: s.early}
		}
	}}, change...)...)}
	var err error
	if c.head, err = s.sockets.listenQUIC(context.Background(), address{"udp", c.listener.Addr().String(), 0}, net.ListenConfig{}); err != nil {
		s.t.Fatal(err)
	}
	c.Config.Start()
	s.t.Cleanup(func() { c.stop(s.t) })
	return c
}

// stop stops a config as Caddy does.
func (c *h3Config) stop(t *testing.T) {
	t.Helper()
	_ = c.head.Close()
	c.config.stop(t)
}

// h3Client makes requests on one connection, and repeats none.
type h3Client struct {
	t *testing.T
	*http3.ClientConn
	conn *quic.Conn
}

var h3TLS = &tls.Config{InsecureSkipVerify: true, NextProtos: []string{http3.NextProtoH3}}

func (c *h3Config) dial(t *testing.T) (*h3Client, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := quic.DialAddr(ctx, c.listener.Addr().String(), h3TLS, nil)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	return &h3Client{t, new(http3.Transport).NewClientConn(conn), conn}, nil
}

func (c *h3Config) client(t *testing.T) *h3Client {
	t.Helper()
	client, err := c.dial(t)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (c *h3Client) post(text string) (string, error) {
	req, err := http.NewRequest(http.MethodPost, "https://site.test/", strings.NewReader(text))
	if err != nil {
		return "", err
	}
	resp, err := c.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func (c *h3Client) expect(want string) {
	c.t.Helper()
	if got, err := c.post("hi"); err != nil || got != want {
		c.t.Errorf("the answer is %q, %v, want %q", got, err, want)
	}
}

// closed wants the connection to be closed without an error.
func (c *h3Client) closed() {
	c.t.Helper()
	select {
	case <-c.conn.Context().Done():
	case <-time.After(patience):
		c.t.Error("the connection stays")
	}
	cause, ok := errors.AsType[*quic.ApplicationError](context.Cause(c.conn.Context()))
	if !ok || cause.ErrorCode != quic.ApplicationErrorCode(http3.ErrCodeNoError) {
		c.t.Errorf("the connection ends with %v", context.Cause(c.conn.Context()))
	}
}

func (c *h3Client) isOpen() bool { return c.conn.Context().Err() == nil }

func TestHTTP3GoesOnWithTheNewestConfig(t *testing.T) {
	s := newHTTP3Site(t)
	first := s.start(answer("first"))
	old := first.client(t)
	old.expect("first")
	next := s.start(answer("next"))
	old.expect("next")
	first.stop(t)
	old.expect("next")
	next.client(t).expect("next")
	if n := s.fronts.Connections(); n != 2 {
		t.Errorf("%d connections are counted", n)
	}
	// One that fails when it has started: Caddy still has things to do then.
	s.start(answer("failing")).stop(t)
	old.expect("next")
	next.client(t).expect("next")
}

// TestClientsOverHTTP3AreAskedToLeave when settings change that their connections keep: one that is
// asked for an answer gets it, and one that is idle has time to go.
func TestClientsOverHTTP3AreAskedToLeave(t *testing.T) {
	s := newHTTP3Site(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	first := s.start(func(w http.ResponseWriter, r *http.Request) {
		if b, _ := io.ReadAll(r.Body); string(b) == "slow" {
			close(arrived)
			<-release
		}
		answer("first")(w, r)
	})
	idle, busy := first.client(t), first.client(t)
	idle.expect("first")
	slow := make(chan string, 1)
	go func() {
		got, err := busy.post("slow")
		slow <- fmt.Sprint(got, err)
	}()
	<-arrived
	next := s.start(answer("next"), func(std *http.Server, _ *Wrapper) { std.IdleTimeout = time.Minute })
	idle.closed()
	if !busy.isOpen() {
		t.Error("the connection with a request is closed")
	}
	testkit.WaitFor(t, "the client to be told to leave", func() bool {
		_, err := busy.post("hi")
		return err != nil && strings.Contains(err.Error(), "graceful shutdown")
	})
	close(release)
	if got := <-slow; got != "first<nil>" {
		t.Errorf("the answer is %s", got)
	}
	busy.closed()
	next.client(t).expect("next")
}

// TestHTTP3CanBeGivenUpAndTakenUp: connections are asked to end, and the address is free when they
// have.
func TestHTTP3CanBeGivenUpAndTakenUp(t *testing.T) {
	s := newHTTP3Site(t)
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	handler := func(w http.ResponseWriter, r *http.Request) {
		if b, _ := io.ReadAll(r.Body); string(b) == "slow" {
			arrived <- struct{}{}
			<-release
		}
		answer("over HTTP/3")(w, r)
	}
	with := s.start(handler)
	long := with.client(t)
	ended := make(chan error, 1)
	go func() {
		_, err := long.post("slow")
		ended <- err
	}()
	<-arrived
	for range 3 {
		without := s.site.start(answer("without"))
		with.stop(t)
		testkit.WaitFor(t, "HTTP/3 to be given up", func() bool { _, err := with.dial(t); return err != nil })
		with = s.start(handler)
		without.stop(t)
		with.client(t).expect("over HTTP/3")
	}
	close(release)
	if err := <-ended; err != nil {
		t.Errorf("the request from before: %v", err)
	}
	with.stop(t)
	testkit.WaitFor(t, "the address to be free", func() bool {
		conn, err := net.ListenPacket("udp", with.listener.Addr().String())
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

func TestHandshakesThatFailAreNotCounted(t *testing.T) {
	s := newHTTP3Site(t)
	c := s.start(answer("here"))
	for range 3 {
		_, err := quic.DialAddr(context.Background(), c.listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"other"}}, nil)
		if err == nil {
			t.Fatal("a client that speaks something else is served")
		}
	}
	testkit.WaitFor(t, "connections to be forgotten", func() bool { return s.fronts.Connections() == 0 })
}

// TestFirstPacketCanHaveARequest if the config allows it (0-RTT).
func TestFirstPacketCanHaveARequest(t *testing.T) {
	for _, early := range []bool{true, false} {
		t.Run(fmt.Sprint(early), func(t *testing.T) {
			s := newHTTP3Site(t)
			s.early = early
			c := s.start(answer("here"))
			config := h3TLS.Clone()
			config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			config.ServerName = "site.test"
			for i := range 2 {
				conn, err := quic.DialAddrEarly(context.Background(), c.listener.Addr().String(), config, nil)
				if err != nil {
					t.Fatal(err)
				}
				client := &h3Client{t, new(http3.Transport).NewClientConn(conn), conn}
				req, err := http.NewRequest(http3.MethodGet0RTT, "https://site.test/", nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := client.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				if got := conn.ConnectionState().Used0RTT; got != (early && i == 1) {
					t.Errorf("connection %d: 0-RTT %t", i, got)
				}
				testkit.WaitFor(t, "a session ticket", func() bool { _, ok := config.ClientSessionCache.Get("site.test"); return ok })
				_ = conn.CloseWithError(0, "")
			}
		})
	}
}

// TestAddressesForUDPMayOverlap: all addresses, and one of them.
func TestAddressesForUDPMayOverlap(t *testing.T) {
	var s sockets
	port := freePort(t)
	for _, host := range []string{"", "127.0.0.1"} {
		head, err := s.listenQUIC(context.Background(), address{"udp", net.JoinHostPort(host, port), 0}, net.ListenConfig{})
		if err != nil {
			t.Fatal(err)
		}
		defer head.Close()
	}
	var others sockets
	if _, err := others.listenQUIC(context.Background(), address{"udp", net.JoinHostPort("127.0.0.1", port), 0}, net.ListenConfig{}); err == nil {
		t.Error("another process could have the same address")
	}
}

// upgrade returns the next process, with a config.
func (s *http3Site) upgrade(handler http.HandlerFunc) (*http3Site, *h3Config) {
	s.t.Helper()
	next := s.succeed()
	config := next.start(handler)
	s.sockets.release()
	next.sockets.begin()
	return next, config
}

// succeed returns the next process, which has the sockets.
func (s *http3Site) succeed() *http3Site {
	s.t.Helper()
	secrets, err := s.sockets.marshalSecrets()
	if err != nil {
		s.t.Fatal(err)
	}
	relays, err := s.sockets.relays()
	if err != nil {
		s.t.Fatal(err)
	}
	next := &http3Site{site: &site{t: s.t, address: s.address, tls: s.tls}}
	s.t.Cleanup(func() { next.fronts.wait(patience) })
	if err := next.sockets.takeOver(copies(s.t, append(s.sockets.all(), relays...)), secrets); err != nil {
		s.t.Fatal(err)
	}
	return next
}

// TestOlderProcessesKeepHTTP3ThatIsGivenUp by the config of the one that takes over: it reads for
// them, and refuses connections, until they have ended.
func TestOlderProcessesKeepHTTP3ThatIsGivenUp(t *testing.T) {
	s := newHTTP3Site(t)
	config := s.start(answer("old"))
	old := config.client(t)
	next := s.succeed()
	next.site.start(answer("next"))
	s.sockets.release()
	next.sockets.begin()
	old.expect("old")
	if _, err := config.dial(t); err == nil {
		t.Error("the next process serves HTTP/3")
	}
	old.expect("old")
	s.kill()
	testkit.WaitFor(t, "the address to be free", func() bool {
		conn, err := net.ListenPacket("udp", config.listener.Addr().String())
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// kill has the process have no socket for UDP any more, as if it were gone.
func (s *http3Site) kill() {
	s.sockets.mu.Lock()
	defer s.sockets.mu.Unlock()
	for _, q := range s.sockets.quic {
		_ = q.conn.Close()
	}
}

// copies returns copies of descriptors, as another process gets them.
func copies(t *testing.T, all []Socket) map[string]*os.File {
	t.Helper()
	files := make(map[string]*os.File)
	for _, s := range all {
		raw, err := s.Conn.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) {
			copied, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				t.Error(err)
			}
			files[s.Name] = os.NewFile(uintptr(copied), s.Name)
		}); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// TestConnectionsOverHTTP3StayWithTheirProcess: each has its own, also after several have taken
// over, and after the newest has died.
func TestConnectionsOverHTTP3StayWithTheirProcess(t *testing.T) {
	s := newHTTP3Site(t)
	config := s.start(answer("process 0"))
	clients := []*h3Client{config.client(t)}
	all := []*http3Site{s}
	check := func() {
		t.Helper()
		for i, client := range clients {
			client.expect(fmt.Sprintf("process %d", i))
		}
	}
	for i := range 3 {
		next, config := all[i].upgrade(answer(fmt.Sprintf("process %d", i+1)))
		all, clients = append(all, next), append(clients, config.client(t))
		check()
	}
	all[3].kill()
	all[2].sockets.resume()
	clients = append(clients[:3], config.client(t))
	clients[3].expect("process 2")
	clients = clients[:3]
	check()
}
