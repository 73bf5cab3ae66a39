package integration

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/parachute-proxy/parachute/integration/rig"
)

// http3Only is a target for clients over HTTP/3 alone.
func http3Only(target rig.RawTarget) rig.RawTarget {
	target.HTTP3, target.Plain = true, ""
	return target
}

// http3TLS returns the config of TLS of a client over HTTP/3.
func http3TLS(target rig.RawTarget) *tls.Config {
	config := target.TLS.Clone()
	config.NextProtos = []string{http3.NextProtoH3}
	return config
}

// stream is a stream of events over HTTP/3, by a connection of its own.
type stream struct {
	t      *testing.T
	conn   *http3.ClientConn
	cancel context.CancelFunc
	*bufio.Scanner
}

// openStream opens a stream of lines that come each 50 ms. at is the address that it connects to.
func openStream(t *testing.T, target rig.RawTarget, at string) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	// A client that only listens would not send from a new port.
	conn, err := quic.DialAddr(ctx, at, http3TLS(target), &quic.Config{KeepAlivePeriod: 200 * time.Millisecond})
	must(t, err)
	s := &stream{t: t, conn: new(http3.Transport).NewClientConn(conn), cancel: cancel}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+secureHost+"/stream", nil)
	must(t, err)
	resp, err := s.conn.RoundTrip(req)
	must(t, err)
	if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 3 {
		t.Fatalf("the stream begins with %s over %s", resp.Status, resp.Proto)
	}
	s.Scanner = bufio.NewScanner(resp.Body)
	t.Cleanup(s.close)
	return s
}

func (s *stream) close() {
	s.cancel()
	_ = s.conn.CloseWithError(0, "")
}

// next wants another so many lines.
func (s *stream) next(lines int) {
	s.t.Helper()
	over := time.AfterFunc(patience, s.cancel)
	defer over.Stop()
	for i := range lines {
		if !s.Scan() {
			s.t.Fatalf("the stream has ended before line %d: %v", i, s.Err())
		}
	}
}

// streamApp answers /stream with lines, for as long as the client wants.
func streamApp(t *testing.T) *app {
	return startApp(t, "a", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/stream" {
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for i := 0; ; i++ {
			if _, err := fmt.Fprintf(w, "line %d\n", i); err != nil {
				return
			}
			if err := http.NewResponseController(w).Flush(); err != nil {
				return
			}
			select {
			case <-r.Context().Done():
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
}

// startHTTP3 starts a proxy with a service that is served over HTTP/3 as well.
func startHTTP3(t *testing.T, args ...string) (*rig.Proxy, rig.RawTarget) {
	t.Helper()
	p, target := startSecured(t, streamApp(t), args...)
	waitFor(t, "HTTP/3", func() bool {
		s, err := dialHTTP3(target)
		if err == nil {
			_ = s.CloseWithError(0, "")
		}
		return err == nil
	})
	return p, target
}

func dialHTTP3(target rig.RawTarget) (*quic.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return quic.DialAddr(ctx, target.Secure, http3TLS(target), nil)
}

// TestReloadsKeepConnectionsOverHTTP3: they are not asked to end, and what is on them goes on. It takes 10
// reloads, or 50 with PARACHUTE_SOAK.
func TestReloadsKeepConnectionsOverHTTP3(t *testing.T) {
	reloads := soakCount(t, 10, 50)
	p := startReloadable(t)
	s := secure(t, p, streamApp(t))
	long := openStream(t, s.target, s.target.Secure)
	load := rig.StartRawLoad(http3Only(s.target), 2)
	waitFor(t, "a request of each class", func() bool { return load.Answered() > 0 })
	begin := time.Now()
	for range reloads {
		before := load.Answered()
		s.reload("")
		long.next(1)
		waitFor(t, "a request of each class", func() bool { return load.Answered() > before })
	}
	t.Logf("%d reloads in %s", reloads, time.Since(begin))
	expectNothingLost(t, load)
	for class, o := range load.Outcomes() {
		if strings.HasPrefix(class, "h3") && o.Connections != 2 {
			t.Errorf("%s: two clients have made %d connections", class, o.Connections)
		}
	}
}

// TestUpgradesRejectAtMostOverHTTP3: every request is answered, or rejected in the way that a client
// may repeat, and streams live on.
func TestUpgradesRejectAtMostOverHTTP3(t *testing.T) {
	p, target := startHTTP3(t)
	load := rig.StartRawLoad(http3Only(target), 4)
	var streams []*stream
	for range 4 {
		streams = append(streams, openStream(t, target, target.Secure))
		before := load.Answered()
		upgrade(t, p)
		for _, s := range streams {
			s.next(3)
		}
		waitFor(t, "requests of each class", func() bool { return load.Answered() > before+20 })
		if len(streams) > 2 { // processes that linger are limited
			streams[0].close()
			streams = streams[1:]
		}
		awaitProcesses(t, p, 3)
	}
	expectRejectedAtMost(t, load)
	for _, s := range streams {
		s.close()
	}
	awaitProcesses(t, p, 1)
}

// TestStreamOverHTTP3LivesThroughUpgrades, by as many processes as there may be.
func TestStreamOverHTTP3LivesThroughUpgrades(t *testing.T) {
	t.Parallel()
	p, target := startHTTP3(t)
	var streams []*stream
	for range 3 {
		streams = append(streams, openStream(t, target, target.Secure))
		upgrade(t, p)
		for _, s := range streams {
			s.next(10)
		}
	}
	all, err := p.Processes()
	if err != nil || len(all) != 4 {
		t.Errorf("%+v, %v", all, err)
	}
	for _, one := range all[1:] {
		if one.Connections == 0 || one.Streams+one.Requests == 0 {
			t.Errorf("an old process tells of nothing: %+v", one)
		}
	}
	// The one in the middle, which has the second stream, dies: the others do not need it.
	must(t, syscall.Kill(all[2].PID, syscall.SIGKILL))
	for i, s := range streams {
		if i != 1 {
			s.next(40)
		}
	}
}

// TestHTTP3GoesOnIfAProcessIsKilled: the old one takes the new one's place, and goes on with the
// connections that it has. Clients of the one that was killed are told at once that it is gone.
func TestHTTP3GoesOnIfAProcessIsKilled(t *testing.T) {
	p, target := startHTTP3(t)
	old := p.PID()
	first := openStream(t, target, target.Secure)
	u := upgrade(t, p)
	second := openStream(t, target, target.Secure)
	first.next(3)
	must(t, syscall.Kill(u.To.PID, syscall.SIGKILL))
	must(t, p.Leads(old))
	first.next(10)
	req, err := http.NewRequest(http.MethodGet, "https://"+secureHost+"/", nil)
	must(t, err)
	_, err = second.conn.RoundTrip(req)
	if _, reset := errors.AsType[*quic.StatelessResetError](err); !reset {
		t.Errorf("the client of the process that was killed hears %v", err)
	}
	third := openStream(t, target, target.Secure)
	third.next(3)
	upgrade(t, p)
	fourth := openStream(t, target, target.Secure)
	for _, s := range []*stream{first, third, fourth} {
		s.next(3)
	}
	must(t, syscall.Kill(old, syscall.SIGKILL))
	fourth.next(10)
	openStream(t, target, target.Secure).next(1)
}

// TestUpgradeThatFailsKeepsHTTP3: requests and streams go on as if nothing had been.
func TestUpgradeThatFailsKeepsHTTP3(t *testing.T) {
	p, target := startHTTP3(t)
	long := openStream(t, target, target.Secure)
	load := rig.StartRawLoad(http3Only(target), 2)
	for range 3 {
		before := load.Answered()
		if _, err := p.Upgrade("--timeout", "1ms"); err == nil {
			t.Fatal("an upgrade in a millisecond has succeeded")
		}
		long.next(3)
		waitFor(t, "requests of each class", func() bool { return load.Answered() > before+5 })
	}
	expectNothingLost(t, load)
	for class, o := range load.Outcomes() {
		if strings.HasPrefix(class, "h3") && o.Connections != 2 {
			t.Errorf("%s: two clients have made %d connections", class, o.Connections)
		}
	}
}

// nat is a translator of addresses: what it passes on comes from another port after each rebind.
type nat struct {
	t       *testing.T
	inside  *net.UDPConn
	server  *net.UDPAddr
	client  chan *net.UDPAddr
	outside chan *net.UDPConn
}

func startNAT(t *testing.T, server string) *nat {
	t.Helper()
	to, err := net.ResolveUDPAddr("udp", server)
	must(t, err)
	inside, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	n := &nat{t: t, inside: inside, server: to, client: make(chan *net.UDPAddr, 1), outside: make(chan *net.UDPConn, 1)}
	t.Cleanup(func() { inside.Close() })
	n.outside <- n.open()
	go func() {
		buf := make([]byte, 64<<10)
		for {
			size, from, err := inside.ReadFromUDP(buf)
			if err != nil {
				return
			}
			select {
			case <-n.client:
			default:
			}
			n.client <- from
			out := <-n.outside
			_, _ = out.Write(buf[:size])
			n.outside <- out
		}
	}()
	return n
}

func (n *nat) open() *net.UDPConn {
	out, err := net.DialUDP("udp", nil, n.server)
	must(n.t, err)
	n.t.Cleanup(func() { out.Close() })
	go func() {
		buf := make([]byte, 64<<10)
		for {
			size, err := out.Read(buf)
			if err != nil {
				return
			}
			to := <-n.client
			n.client <- to
			_, _ = n.inside.WriteToUDP(buf[:size], to)
		}
	}()
	return out
}

// rebind has packets come from another port from now on, and answers to the old one get lost.
func (n *nat) rebind() {
	before := <-n.outside
	n.outside <- n.open()
	before.Close()
}

// TestClientThatChangesItsPortKeepsItsConnection, also if that is with an older process.
func TestClientThatChangesItsPortKeepsItsConnection(t *testing.T) {
	t.Parallel()
	p, target := startHTTP3(t)
	through := startNAT(t, target.Secure)
	s := openStream(t, target, through.inside.LocalAddr().String())
	s.next(3)
	for range 3 {
		through.rebind()
		s.next(20)
		upgrade(t, p)
		s.next(3)
	}
}

// TestStopIsPoliteOverHTTP3: no request is lost, the connections are closed, and what is under way is
// answered.
func TestStopIsPoliteOverHTTP3(t *testing.T) {
	begun, goOn := make(chan struct{}, 1), make(chan struct{})
	a := startApp(t, "a", func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			begun <- struct{}{}
			<-goOn
		}
	})
	p, target := startSecured(t, a, "--grace-period", "20s")
	idle, err := dialHTTP3(target)
	must(t, err)
	client := tlsClient(t, p, "HTTP/3.0", target.TLS.RootCAs, secureHost)
	slow := make(chan error, 1)
	go func() {
		resp, err := client.Get("https://" + secureHost + "/slow")
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		slow <- err
	}()
	<-begun
	must(t, p.Signal(syscall.SIGTERM))
	select {
	case <-idle.Context().Done():
	case <-time.After(patience):
		t.Error("the idle connection stays")
	}
	close(goOn)
	if err := <-slow; err != nil {
		t.Errorf("the request that was under way: %v", err)
	}
	began := time.Now()
	must(t, p.End(patience))
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the end has taken %s", took)
	}
}

// TestConfigCanGiveUpHTTP3 and take it up again, and what a site of the user's says counts.
func TestConfigCanGiveUpHTTP3(t *testing.T) {
	p := startReloadable(t)
	s := secure(t, p, streamApp(t))
	long := openStream(t, s.target, s.target.Secure)
	for range 2 {
		s.options = "servers {\n\t\tprotocols h1 h2\n\t}"
		s.reload("")
		waitFor(t, "HTTP/3 to be given up", func() bool { _, err := dialHTTP3(s.target); return err != nil })
		resp, _ := ask(t, tlsClient(t, p.Proxy, "HTTP/2.0", s.target.TLS.RootCAs, secureHost), "https://"+secureHost+"/generation")
		if offer := resp.Header.Get("Alt-Svc"); offer != "" {
			t.Errorf("it is still offered: %s", offer)
		}
		s.options = ""
		s.reload("")
		waitFor(t, "HTTP/3", func() bool {
			c, err := dialHTTP3(s.target)
			if err == nil {
				_ = c.CloseWithError(0, "")
			}
			return err == nil
		})
	}
	long.next(3)
}
