package front

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const patience = 20 * time.Second

// portOf returns the port of a listener.
func portOf(l net.Listener) string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// tcpAt returns an address.
func tcpAt(host, port string) address {
	return address{network: "tcp", name: net.JoinHostPort(host, port)}
}

// listenOn returns a head, which is closed when the test is over.
func listenOn(t *testing.T, s *sockets, a address) net.Listener {
	t.Helper()
	l, err := s.listen(context.Background(), a, net.ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// accepted is a connection that a head has accepted, under the name of the head.
type accepted struct {
	by string
	net.Conn
	err error
}

// acceptAll has a head accept until it is closed.
func acceptAll(name string, l net.Listener, to chan<- accepted) {
	for {
		c, err := l.Accept()
		to <- accepted{name, c, err}
		if err != nil {
			return
		}
	}
}

// begun waits until a head accepts.
func begun(t *testing.T, l net.Listener) {
	t.Helper()
	h := l.(*head)
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		h.mu.Lock()
		accepts := h.accepts
		h.mu.Unlock()
		if accepts {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the head does not accept")
		}
	}
}

func dial(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	c, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// expectBy waits for a connection to be accepted by a head.
func expectBy(t *testing.T, want string, from <-chan accepted) accepted {
	t.Helper()
	select {
	case a := <-from:
		if a.by != want || a.err != nil {
			t.Fatalf("%s has accepted (%v) instead of %s", a.by, a.err, want)
		}
		t.Cleanup(func() { a.Close() })
		return a
	case <-time.After(patience):
		t.Fatal("nobody accepts the connection")
	}
	return accepted{}
}

func expectClosed(t *testing.T, want string, from <-chan accepted) {
	t.Helper()
	select {
	case a := <-from:
		if a.by != want || !errors.Is(a.err, net.ErrClosed) {
			t.Fatalf("%s has ended with %v instead of %s", a.by, a.err, want)
		}
	case <-time.After(patience):
		t.Fatal("Accept does not end")
	}
}

// A config that is starting has a head that does not accept yet. If it fails, that closes.
func TestNewestHeadThatAcceptsGetsTheConnections(t *testing.T) {
	var s sockets
	all := make(chan accepted)
	old := listenOn(t, &s, tcpAt("127.0.0.1", "0"))
	a := tcpAt("127.0.0.1", "0") // which is the same one
	go acceptAll("old", old, all)
	dial(t, old)
	expectBy(t, "old", all)

	failing := listenOn(t, &s, a)
	dial(t, old)
	expectBy(t, "old", all)
	_ = failing.Close()
	dial(t, old)
	expectBy(t, "old", all)

	next := listenOn(t, &s, a)
	go acceptAll("next", next, all)
	begun(t, next)
	dial(t, old)
	expectBy(t, "next", all)
	_ = next.Close()
	expectClosed(t, "next", all)
	dial(t, old)
	expectBy(t, "old", all)

	last := listenOn(t, &s, a)
	_ = old.Close()
	expectClosed(t, "old", all)
	dial(t, last) // waits for last to accept
	go acceptAll("last", last, all)
	expectBy(t, "last", all)
}

// The system resets the connections that wait in the queue of a socket that is closed. Their
// clients have been told that they are connected.
func TestLastHeadGetsWhatWaitsInTheQueue(t *testing.T) {
	var s sockets
	l := listenOn(t, &s, tcpAt("127.0.0.1", "0"))
	all := make(chan accepted)
	first := dial(t, l)
	go acceptAll("only", l, all)
	expectBy(t, "only", all)
	_ = first
	const waiting = 20
	var clients []net.Conn
	for range waiting {
		clients = append(clients, dial(t, l))
	}
	_ = l.Close()
	for range waiting {
		a := expectBy(t, "only", all)
		_, _ = io.WriteString(a, "x")
		_ = a.Close()
	}
	expectClosed(t, "only", all)
	for _, c := range clients {
		_ = c.SetDeadline(time.Now().Add(patience))
		if got, err := io.ReadAll(c); err != nil || string(got) != "x" {
			t.Errorf("a client got %q, %v", got, err)
		}
	}
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("the socket is still open")
	}
}

// A port that a config has given up, and the next one takes again.
func TestSocketCanBeOpenedAgain(t *testing.T) {
	var s sockets
	l := listenOn(t, &s, tcpAt("127.0.0.1", "0"))
	for range 20 {
		_ = l.Close()
		l = listenOn(t, &s, tcpAt("127.0.0.1", portOf(l)))
	}
	all := make(chan accepted)
	go acceptAll("again", l, all)
	dial(t, l)
	expectBy(t, "again", all)
}

// Caddy's sockets are shared with every other program of the user. A second proxy would take
// half of the connections of the first one.
func TestSocketIsSharedWithNobody(t *testing.T) {
	var s, other sockets
	l := listenOn(t, &s, tcpAt("127.0.0.1", "0"))
	if second, err := other.listen(context.Background(), tcpAt("127.0.0.1", portOf(l)), net.ListenConfig{}); err == nil {
		second.Close()
		t.Error("another process could listen there")
	}
	sharing := net.ListenConfig{Control: controlShareAddress}
	if second, err := sharing.Listen(context.Background(), "tcp", l.Addr().String()); err == nil {
		second.Close()
		t.Error("another program that shares its sockets could listen there")
	}
}

// A site may have one address of a port of which the proxy has all others.
func TestAddressesOfOneProcessMayOverlap(t *testing.T) {
	for _, hosts := range [][2]string{{"", "127.0.0.1"}, {"127.0.0.1", ""}} {
		var s sockets
		var first, second net.Listener
		for range 20 { // the port may be another program's at another address
			first = listenOn(t, &s, tcpAt(hosts[0], "0"))
			var err error
			if second, err = s.listen(context.Background(), tcpAt(hosts[1], portOf(first)), net.ListenConfig{}); err == nil {
				break
			}
			_ = first.Close()
			<-first.(*head).done
		}
		if second == nil {
			t.Fatalf("%q and %q cannot be had together", hosts[0], hosts[1])
		}
		defer second.Close()
		all := make(chan accepted)
		name := func(l net.Listener) string {
			host, _, _ := net.SplitHostPort(l.Addr().String())
			return host
		}
		for _, l := range []net.Listener{first, second} {
			go acceptAll(name(l), l, all)
		}
		c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", portOf(first)))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		expectBy(t, "127.0.0.1", all)
	}
}

// TestAddressThatIsGivenUpIsFree, although the process before still has the socket.
func TestAddressThatIsGivenUpIsFree(t *testing.T) {
	for what, giveUp := range map[string]func(s *sockets, file *os.File){
		"by a config that has taken the socket over": func(s *sockets, file *os.File) {
			s.inherited = map[string]*os.File{"tcp/127.0.0.1:1": file}
			h := listenOn(t, s, tcpAt("127.0.0.1", "1"))
			s.begin()
			_ = h.Close()
			<-h.(*head).done
		},
		"by an upgrade to a config without it": func(s *sockets, file *os.File) {
			s.inherited = map[string]*os.File{"tcp/127.0.0.1:1": file}
			s.begin()
		},
	} {
		t.Run(what, func(t *testing.T) {
			before, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer before.Close()
			file, err := before.(*net.TCPListener).File()
			if err != nil {
				t.Fatal(err)
			}
			var s sockets
			giveUp(&s, file)
			if c, err := net.DialTimeout("tcp", before.Addr().String(), time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%v, %v: want a refusal", c, err)
			}
			again, err := s.listen(t.Context(), tcpAt("127.0.0.1", portOf(before)), net.ListenConfig{})
			if err != nil {
				t.Fatal(err)
			}
			_ = again.Close()
		})
	}
}

func TestUnixSocketHasThePermissionsThatTheNewestConfigGivesIt(t *testing.T) {
	var s sockets
	path := filepath.Join(t.TempDir(), "s.sock")
	if len(path) > 100 {
		t.Skip("skipped: the path is too long for a socket")
	}
	killed, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	killed.SetUnlinkOnClose(false)
	_ = killed.Close()
	var heads []net.Listener
	for bits, want := range map[string]os.FileMode{"|0600": 0o600, "|0660": 0o660, "": 0o200} {
		a, err := parseAddress("unix", path+bits, "0", 0)
		if err != nil {
			t.Fatal(err)
		}
		heads = append(heads, listenOn(t, &s, a))
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("the permissions are %v (%v) instead of %s", info, err, want)
		}
	}
	all := make(chan accepted)
	go acceptAll("newest", heads[len(heads)-1], all)
	if err := os.Chmod(path, 0o600); err != nil { // root needs none
		t.Fatal(err)
	}
	dial(t, heads[0])
	expectBy(t, "newest", all)
	for _, h := range heads {
		_ = h.Close()
	}
	expectClosed(t, "newest", all)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the closed socket is still there: %v", err)
	}
}

func TestFileIsNotReplacedByASocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	var s sockets
	if _, err := s.listen(context.Background(), address{network: "unix", name: path, mode: 0o600}, net.ListenConfig{}); err == nil {
		t.Error("it listens")
	}
	if b, _ := os.ReadFile(path); string(b) != "mine" {
		t.Errorf("the file has %q", b)
	}
}

func TestAddressesAreParsedAsCaddyWritesThem(t *testing.T) {
	for _, tc := range []struct {
		network, host, ports string
		offset               uint
		want                 string
	}{
		{"tcp", "", "80", 0, "tcp :80"},
		{"tcp4", "127.0.0.1", "8000-8005", 3, "tcp4 127.0.0.1:8003"},
		{"tcp", "::1", "443", 0, "tcp [::1]:443"},
		{"tcp", "", "65535", 1, "error"},
		{"tcp", "", "x", 0, "error"},
		{"unix", "/run/s|0660", "0", 0, "unix /run/s"},
		{"unix", "/run/s|9", "0", 0, "error"},
	} {
		a, err := parseAddress(tc.network, tc.host, tc.ports, tc.offset)
		got := a.network + " " + a.name
		if err != nil {
			got = "error"
		}
		if got != tc.want {
			t.Errorf("%+v is %s (%v)", tc, got, err)
		}
	}
}

func TestAddressesAreShownAsTheyAreWritten(t *testing.T) {
	for shared, want := range map[string]string{
		"parachute/:80": ":80", "parachute4/1.2.3.4:80": "tcp4/1.2.3.4:80", "unix+parachute//run/s": "unix//run/s", ":80": ":80", "fd/3": "fd/3",
	} {
		if got := Plain(shared); got != want {
			t.Errorf("%s is shown as %s", shared, got)
		}
		if network, _, found := strings.Cut(want, "/"); found && network != "fd" {
			if s, _ := Shared(network); !strings.HasPrefix(shared, s+"/") {
				t.Errorf("%s becomes %s", network, s)
			}
		}
	}
}
