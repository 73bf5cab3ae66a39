package proxy

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// tcpPair returns both ends of a connection.
func tcpPair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	l := listen(t, "tcp", "127.0.0.1:0")
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
		_ = c.SetDeadline(time.Now().Add(testTimeout))
	}
	return near.(*net.TCPConn), far.(*net.TCPConn)
}

// Large amounts pass through an upgraded connection of any protocol in both directions
// at once, and not a byte is lost or added.
func TestUpgradedConnectionsMoveLargeAmounts(t *testing.T) {
	t.Parallel()
	random := newRand(t)
	there, back := make([]byte, 8<<20), make([]byte, 8<<20)
	for i := range there {
		there[i], back[i] = byte(random.Uint32()), byte(random.Uint32())
	}
	sums := make(chan [32]byte, 1)
	e := newTestEngine(t)
	e.deploy(requestFor("app", startHandler(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered := takeOver(t, w, "tunnel")
		defer conn.Close()
		go func() { _, _ = conn.Write(back) }()
		got := make([]byte, len(there))
		_, _ = io.ReadFull(buffered, got)
		sums <- sha256.Sum256(got)
		_, _ = io.Copy(io.Discard, buffered)
	})))
	conn, r := e.upgrade("/", "tunnel")
	go func() { _, _ = conn.Write(there) }()
	got := make([]byte, len(back))
	if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, back) {
		t.Errorf("what the app sent arrives as something else: %v", err)
	}
	if receive(t, sums, "what the client sent") != sha256.Sum256(there) {
		t.Error("what the client sent arrives as something else")
	}
}

// A deploy ends a busy connection of a protocol that it does not know within the
// stream timeout.
func TestBusyUpgradedConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t)
	e.deploy(requestFor("app", startHandler(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _ := takeOver(t, w, "tunnel")
		defer conn.Close()
		for chunk := make([]byte, 64<<10); ; {
			if _, err := conn.Write(chunk); err != nil {
				return
			}
		}
	})))
	conn, r := e.upgrade("/", "tunnel")
	ended := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(io.Discard, r)
		_ = conn.Close()
		ended <- n
	}()
	req := requestFor("app", startApp(t, "new"))
	req.StreamTimeout = ms(200)
	d := e.start(req)
	if n := receive(t, ended, "the end of the stream"); n < 1<<20 {
		t.Errorf("only %d bytes came", n)
	}
	if status, err := wait(t, d); err != nil || status.Drained[0].CutStreams != 0 {
		t.Errorf("%v, %+v", err, status.Drained)
	}
}

func TestSplicerTellsASilenceFromAnEnd(t *testing.T) {
	t.Parallel()
	src, sender := tcpPair(t)
	dst, receiver := tcpPair(t)
	closing := false
	s := newSplicer(dst, src, func() bool { return closing })
	mustWrite(t, sender, []byte("one"))
	if err := s.move(); err != nil {
		t.Errorf("a silence: %v", err)
	}
	mustWrite(t, sender, []byte("two"))
	closing = true
	if err := s.move(); err != io.EOF {
		t.Errorf("a close: %v", err)
	}
	closing = false
	mustWrite(t, sender, []byte("three"))
	_ = sender.CloseWrite()
	if err := s.move(); err != io.EOF {
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
