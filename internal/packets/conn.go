package packets

import (
	"errors"
	"maps"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
)

// Conn is a UDP socket that other processes may have as well. It reads batches, as quic-go wants
// it, from [Conn.Begin] on: from the socket, or, once another process does that, from the relay by
// which that one sends what is for this process.
type Conn struct {
	*net.UDPConn
	batches *ipv4.PacketConn
	issuer  *Issuer
	// older are the relays to processes before this one, by epoch. nil if there is none.
	older atomic.Pointer[map[byte]*outbox]
	// begun is closed by Begin, alone when there are no relays any more, and closed by Close.
	begun, alone, closed                      chan struct{}
	beginning, watching, becomeAlone, closing sync.Once
	// expired is closed when the deadline of reading is in the past; see SetReadDeadline.
	expired  chan struct{}
	expiring sync.Once

	// reading is held while the socket is read.
	reading sync.Mutex

	// mu guards what follows.
	mu sync.Mutex
	// offered is the relay that the next process has been offered; nil if none has.
	offered *relay
	// inbox is what is read in place of the socket; nil as long as this process reads that.
	inbox *inbox
}

// relay is a relay of which this process has both ends.
type relay struct {
	in  *inbox
	out *os.File
}

// NewConn returns a Conn for a socket, which it takes over. Nothing is read before Begin.
func NewConn(socket *net.UDPConn, issuer *Issuer) *Conn {
	return &Conn{
		UDPConn: socket, batches: ipv4.NewPacketConn(socket), issuer: issuer,
		begun: make(chan struct{}), alone: make(chan struct{}), closed: make(chan struct{}), expired: make(chan struct{}),
	}
}

// longAgo is a deadline that ends all waiting.
var longAgo = time.Unix(1, 0)

// Begin has the Conn be read.
func (c *Conn) Begin() {
	c.beginning.Do(func() { close(c.begun) })
	if c.IsAlone() {
		c.becomeAlone.Do(func() { close(c.alone) })
	}
}

// IsAlone reports whether no process before this one needs this one to read its packets.
func (c *Conn) IsAlone() bool { return c.older.Load() == nil }

// Alone returns a channel that is closed, some time after Begin, when IsAlone.
func (c *Conn) Alone() <-chan struct{} { return c.alone }

// Inherit has packets for a process before this one go there by a relay, of which f is the end.
// It takes f over, and is to be called before Begin.
func (c *Conn) Inherit(epoch byte, f *os.File) error {
	out, err := newOutbox(f)
	if err != nil {
		return err
	}
	c.change(func(older map[byte]*outbox) { older[epoch] = out })
	c.watching.Do(func() { go c.watch() })
	return nil
}

// relayLook is how often is looked whether the processes before this one are still there.
const relayLook = time.Second

// watch forgets the relays to processes that have ended, until there are none.
func (c *Conn) watch() {
	tick := time.NewTicker(relayLook)
	defer tick.Stop()
	for !c.IsAlone() {
		select {
		case <-tick.C:
		case <-c.closed:
			return
		}
		older := c.older.Load()
		if older == nil {
			break
		}
		for epoch, relay := range *older {
			if !relay.isOpen() {
				c.forget(epoch, relay)
			}
		}
	}
	c.becomeAlone.Do(func() { close(c.alone) })
}

// change changes a copy of the relays, since they are read without a lock.
func (c *Conn) change(do func(map[byte]*outbox)) {
	older := make(map[byte]*outbox)
	if now := c.older.Load(); now != nil {
		maps.Copy(older, *now)
	}
	do(older)
	if len(older) == 0 {
		c.older.Store(nil)
		return
	}
	c.older.Store(&older)
}

// Relays returns what the next process needs: the relay to this process, which it makes anew, and those
// to the ones before, by epoch.
func (c *Conn) Relays() (map[byte]syscall.Conn, error) {
	in, out, err := newRelay()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.withdraw()
	c.offered = &relay{in, out}
	all := map[byte]syscall.Conn{c.issuer.epoch: out}
	if older := c.older.Load(); older != nil {
		for epoch, relay := range *older {
			all[epoch] = relay.conn
		}
	}
	return all, nil
}

// withdraw closes the relay that was offered last, of which nothing has come. mu must be held.
func (c *Conn) withdraw() {
	if c.offered != nil {
		_ = c.offered.in.conn.Close()
		_ = c.offered.out.Close()
		c.offered = nil
	}
}

// Release leaves the socket to the process that has got the Relays: this one reads what comes from
// there. When Release returns, it reads no more from the socket.
func (c *Conn) Release() {
	if !c.turnToRelay() {
		return // no other process has it: it was opened since
	}
	c.reading.Lock() // when what has begun before is over
	defer c.reading.Unlock()
}

func (c *Conn) turnToRelay() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.offered == nil {
		return false
	}
	c.inbox = c.offered.in
	_ = c.offered.out.Close() // which is the other process's now
	c.offered = nil
	_ = c.UDPConn.SetReadDeadline(longAgo)
	return true
}

// Resume has this process read the socket again.
func (c *Conn) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	in := c.inbox
	if in == nil {
		return
	}
	c.inbox = nil
	if !c.isExpired() {
		_ = c.UDPConn.SetReadDeadline(time.Time{})
	}
	_ = in.conn.Close()
}

// source returns what is to be read: the socket, if that is nil.
func (c *Conn) source() *inbox {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inbox
}

// ReadBatch reads packets for this process, as [ipv4.PacketConn.ReadBatch].
func (c *Conn) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	select {
	case <-c.begun:
	case <-c.expired:
		return 0, os.ErrDeadlineExceeded
	}
	for {
		in := c.source()
		n, err := 0, error(nil)
		if in == nil {
			n, err = c.readSocket(ms, flags)
		} else if err = in.receive(&ms[0]); err == nil {
			n = 1
		}
		switch {
		case n > 0:
			return n, nil
		case errors.Is(err, errNoFrame), err == nil, in != c.source():
		case errors.Is(err, os.ErrDeadlineExceeded) && !c.isExpired():
		default:
			return 0, err
		}
	}
}

// readSocket reads packets from the socket, if that is for this process to do.
func (c *Conn) readSocket(ms []ipv4.Message, flags int) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if c.source() != nil {
		return 0, nil
	}
	n, err := c.batches.ReadBatch(ms, flags)
	return c.keepOwn(ms[:max(n, 0)]), err
}

// keepOwn sends packets that are for processes before this one there, and moves the others to the
// front. It returns how many those are. The buffers stay where they are: quic-go knows them by
// their places.
func (c *Conn) keepOwn(ms []ipv4.Message) (own int) {
	older := c.older.Load()
	if older == nil {
		return len(ms)
	}
	for i := range ms {
		m := &ms[i]
		if epoch, relay := c.relayFor(*older, m.Buffers[0][:m.N]); relay != nil {
			if relay.send(m) {
				continue
			}
			c.forget(epoch, relay) // and the client learns that nobody has its connection
		}
		if to := &ms[own]; own != i {
			to.N, to.NN, to.Flags, to.Addr = copy(to.Buffers[0], m.Buffers[0][:m.N]), copy(to.OOB, m.OOB[:m.NN]), m.Flags, m.Addr
		}
		own++
	}
	return own
}

// relayFor returns the relay by which a packet has to go, or nil if it is for this process.
func (c *Conn) relayFor(older map[byte]*outbox, packet []byte) (epoch byte, relay *outbox) {
	id := Destination(packet)
	if id == nil || id[0] == c.issuer.epoch {
		return 0, nil
	}
	if relay = older[id[0]]; relay == nil || !c.issuer.Issued(id) {
		return 0, nil
	}
	return id[0], relay
}

// forget drops the relay to a process that has ended.
func (c *Conn) forget(epoch byte, relay *outbox) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.change(func(older map[byte]*outbox) { delete(older, epoch) })
	_ = relay.conn.Close()
}

// SetReadDeadline ends all reading, now and for ever, if t is in the past. quic-go does that when it
// is closed, and uses no other deadline.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if t.IsZero() || t.After(time.Now()) {
		return nil
	}
	c.expiring.Do(func() { close(c.expired) })
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inbox != nil {
		_ = c.inbox.conn.SetReadDeadline(longAgo)
	}
	return c.UDPConn.SetReadDeadline(longAgo)
}

func (c *Conn) isExpired() bool {
	select {
	case <-c.expired:
		return true
	default:
		return false
	}
}

// Close closes the socket and the relays of this process.
func (c *Conn) Close() error {
	c.closing.Do(func() { close(c.closed) })
	c.mu.Lock()
	defer c.mu.Unlock()
	c.withdraw()
	if c.inbox != nil {
		_ = c.inbox.conn.Close()
	}
	if older := c.older.Load(); older != nil {
		for _, relay := range *older {
			_ = relay.conn.Close()
		}
	}
	return c.UDPConn.Close()
}
