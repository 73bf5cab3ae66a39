package forward

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/testkit"
)

// tcpPair returns both ends of a connection.
func tcpPair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	l := testkit.Listen(t, "tcp", "127.0.0.1:0")
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	for _, c := range []net.Conn{near, far} {
		_ = c.SetDeadline(time.Now().Add(testkit.Timeout))
	}
	return near.(*net.TCPConn), far.(*net.TCPConn)
}

func TestSplicerTellsASilenceFromAnEnd(t *testing.T) {
	t.Parallel()
	src, sender := tcpPair(t)
	dst, receiver := tcpPair(t)
	closing := false
	s := newSplicer(dst, src, func() bool { return closing })
	testkit.MustWrite(t, sender, []byte("one"))
	if _, err := s.move(); err != nil {
		t.Errorf("a silence: %v", err)
	}
	testkit.MustWrite(t, sender, []byte("two"))
	closing = true
	if _, err := s.move(); err != io.EOF {
		t.Errorf("a close: %v", err)
	}
	closing = false
	testkit.MustWrite(t, sender, []byte("three"))
	_ = sender.CloseWrite()
	if _, err := s.move(); err != io.EOF {
		t.Errorf("an end: %v", err)
	}
	_ = dst.CloseWrite()
	if got, err := io.ReadAll(receiver); err != nil || string(got) != "onetwothree" {
		t.Errorf("moved %q, %v", got, err)
	}
}

// wrapped is a connection that adds nothing to what is sent.
type wrapped struct{ *net.TCPConn }

func (w wrapped) NetConn() net.Conn { return w.TCPConn }

func TestOnlyBareSocketsAreSpliced(t *testing.T) {
	t.Parallel()
	a, b := tcpPair(t)
	never := func() bool { return false }
	if newSplicer(a, wrapped{b}, never) == nil || newSplicer(wrapped{a}, b, never) == nil {
		t.Error("a socket below a wrapper is not spliced")
	}
	secured := tls.Server(b, &tls.Config{})
	pipe, _ := net.Pipe()
	for _, pair := range [][2]net.Conn{{a, secured}, {secured, a}, {a, pipe}, {pipe, a}} {
		if newSplicer(pair[0], pair[1], never) != nil {
			t.Errorf("%T is spliced to %T", pair[1], pair[0])
		}
	}
}
