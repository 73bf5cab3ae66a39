//go:build unix

package packets

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

const patience = 10 * time.Second

// process is one of those that share a socket.
type process struct {
	t *testing.T
	*Conn
	issuer *Issuer
	// got are the packets that are for it; failed is what reading has ended with.
	got    chan string
	failed chan error
}

func newProcess(t *testing.T, socket *net.UDPConn, key Key, epoch byte) *process {
	t.Helper()
	issuer := NewIssuer(key, epoch)
	p := &process{t: t, Conn: NewConn(socket, issuer), issuer: issuer, got: make(chan string, 1000), failed: make(chan error, 1)}
	t.Cleanup(func() { p.Close() })
	go p.read()
	return p
}

func (p *process) read() {
	ms := make([]ipv4.Message, 8)
	for i := range ms {
		ms[i] = emptyMessage()
	}
	for {
		n, err := p.ReadBatch(ms, 0)
		if err != nil {
			p.failed <- err
			return
		}
		for _, m := range ms[:n] {
			p.got <- string(m.Buffers[0][1+IDLen : m.N])
		}
	}
}

func first(t *testing.T, key Key) *process {
	t.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	p := newProcess(t, socket, key, 1)
	p.Begin()
	return p
}

// upgrade returns the next process, which reads from now on.
func (p *process) upgrade(key Key) *process {
	p.t.Helper()
	next := p.prepare(key)
	p.Release()
	next.Begin()
	return next
}

// prepare returns the next process, which reads nothing yet.
func (p *process) prepare(key Key) *process {
	p.t.Helper()
	socket, err := net.FilePacketConn(handOver(p.t, p.Conn))
	if err != nil {
		p.t.Fatal(err)
	}
	next := newProcess(p.t, socket.(*net.UDPConn), key, p.issuer.epoch+1)
	relays, err := p.Relays()
	if err != nil {
		p.t.Fatal(err)
	}
	for epoch, relay := range relays {
		if err := next.Inherit(epoch, handOver(p.t, relay)); err != nil {
			p.t.Fatal(err)
		}
	}
	return next
}

// handOver returns a copy of a descriptor, as another process gets it.
func handOver(t *testing.T, c syscall.Conn) (f *os.File) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		err = errors.Join(raw.Control(func(fd uintptr) {
			var copied int
			if copied, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); err == nil {
				f = os.NewFile(uintptr(copied), "copy")
			}
		}), err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// client sends packets.
type client struct {
	t *testing.T
	*net.UDPConn
}

func newClient(t *testing.T, to *process) *client {
	t.Helper()
	c, err := net.DialUDP("udp", nil, to.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &client{t, c}
}

// send sends a packet of a connection of a process, or of a new one if that is nil.
func (c *client) send(of *process, text string) {
	c.t.Helper()
	id := ID{0xff, 1, 2, 3, 4, 5, 6, 7}
	if of != nil {
		var err error
		if id, err = of.issuer.New(); err != nil {
			c.t.Fatal(err)
		}
	}
	if _, err := c.Write(append(append([]byte{0x40}, id[:]...), text...)); err != nil {
		c.t.Fatal(err)
	}
}

// gets wants these packets to arrive at a process, in their order.
func (p *process) gets(want ...string) {
	p.t.Helper()
	for _, text := range want {
		select {
		case got := <-p.got:
			if got != text {
				p.t.Fatalf("process %d gets %q, want %q", p.issuer.epoch, got, text)
			}
		case <-time.After(patience):
			p.t.Fatalf("process %d does not get %q", p.issuer.epoch, text)
		}
	}
}

func (p *process) getsNothing() {
	p.t.Helper()
	select {
	case got := <-p.got:
		p.t.Errorf("process %d gets %q", p.issuer.epoch, got)
	default:
	}
}

func TestPacketsGoToTheProcessThatHasTheConnection(t *testing.T) {
	key := newKey(t)
	all := []*process{first(t, key)}
	for range 3 {
		all = append(all, all[len(all)-1].upgrade(key))
	}
	for round := range 50 {
		c := newClient(t, all[0]) // by another port each time
		for i, p := range all {
			c.send(p, fmt.Sprint(round, i))
		}
		c.send(nil, fmt.Sprint(round, " new"))
	}
	for round := range 50 {
		for i, p := range all {
			p.gets(fmt.Sprint(round, i))
		}
		all[3].gets(fmt.Sprint(round, " new"))
	}
}

func TestNothingIsReadBeforeTheProcessBeforeHasCeased(t *testing.T) {
	key := newKey(t)
	old := first(t, key)
	c := newClient(t, old)
	next := old.prepare(key)
	c.send(nil, "before")
	old.gets("before")
	old.Release()
	c.send(nil, "meanwhile")
	c.send(old, "of the old one")
	old.getsNothing()
	next.getsNothing()
	next.Begin()
	next.gets("meanwhile")
	old.gets("of the old one")
}

// TestProcessThatGoesOnReadsAll: the next one has died.
func TestProcessThatGoesOnReadsAll(t *testing.T) {
	key := newKey(t)
	oldest := first(t, key)
	old := oldest.upgrade(key)
	for range 3 {
		next := old.upgrade(key)
		c := newClient(t, old)
		c.send(next, "next")
		c.send(old, "old")
		next.gets("next")
		old.gets("old")
		_ = next.Close()
		old.Resume()
		c.send(nil, "new")
		c.send(oldest, "oldest")
		c.send(next, "nobody's")
		old.gets("new", "nobody's")
		oldest.gets("oldest")
	}
}

func TestRelayOfAProcessThatHasEndedIsForgotten(t *testing.T) {
	key := newKey(t)
	old := first(t, key)
	next := old.upgrade(key)
	_ = old.Close()
	c := newClient(t, next)
	c.send(old, "nobody's")
	c.send(old, "nobody's, either")
	next.gets("nobody's", "nobody's, either")
	if relays := next.older.Load(); relays != nil {
		t.Errorf("there are still relays: %v", *relays)
	}
}

// TestEndOfAProcessIsNoticed without a packet for it.
func TestEndOfAProcessIsNoticed(t *testing.T) {
	key := newKey(t)
	old := first(t, key)
	next := old.upgrade(key)
	if next.IsAlone() || !old.IsAlone() {
		t.Error("it is not known who is alone")
	}
	_ = old.Close()
	select {
	case <-next.Alone():
	case <-time.After(patience):
		t.Error("the end of the old process is not noticed")
	}
}

func TestOfferOfWhichNothingComesChangesNothing(t *testing.T) {
	key := newKey(t)
	p := first(t, key)
	c := newClient(t, p)
	for range 3 {
		next := p.prepare(key)
		_ = next.Close()
		c.send(p, "mine")
		p.gets("mine")
	}
	next := p.upgrade(key)
	c.send(p, "still mine")
	c.send(nil, "new")
	p.gets("still mine")
	next.gets("new")
}

// TestReadingEndsWithADeadlineInThePast, which is how quic-go ends it.
func TestReadingEndsWithADeadlineInThePast(t *testing.T) {
	key := newKey(t)
	ended := func(p *process) {
		t.Helper()
		_ = p.SetReadDeadline(time.Now())
		select {
		case err := <-p.failed:
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("reading ends with %v", err)
			}
		case <-time.After(patience):
			t.Error("reading does not end")
		}
	}
	old := first(t, key)
	next := old.prepare(key)
	third := next.prepare(key)
	ended(third) // before it has begun
	old.Release()
	next.Begin()
	ended(next) // by the socket
	ended(old)  // by the relay
}

// TestFullRelayStopsNobody: the process at its other end does not read.
func TestFullRelayStopsNobody(t *testing.T) {
	in, out, err := newRelay()
	if err != nil {
		t.Fatal(err)
	}
	defer in.conn.Close()
	box, err := newOutbox(out)
	if err != nil {
		t.Fatal(err)
	}
	m := message(&net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}, "", string(make([]byte, 1200)))
	for range 20_000 {
		if !box.send(&m) {
			t.Fatal("a relay that is full is taken for one of which the other end is gone")
		}
	}
	got := emptyMessage()
	for range 20 {
		if err := in.receive(&got); err != nil || got.N != 1200 {
			t.Fatalf("%d bytes, %v", got.N, err)
		}
	}
	_ = in.conn.Close()
	if box.send(&m) {
		t.Error("the other end is gone, and nobody notices")
	}
}
