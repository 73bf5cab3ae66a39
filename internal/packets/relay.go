package packets

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/net/ipv4"
)

// inbox is the end of a relay at which packets arrive.
type inbox struct {
	conn *net.UnixConn
	buf  []byte
}

// maxFrame is more than a packet takes with what goes along.
const maxFrame = 4 << 10

// newRelay returns the two ends of a relay. The file is for another process.
func newRelay() (*inbox, *os.File, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	conn, err := relayConn(ours)
	if err != nil {
		_ = theirs.Close()
		return nil, nil, err
	}
	return &inbox{conn, make([]byte, maxFrame)}, theirs, nil
}

// relayConn returns the connection of a file, which it closes.
func relayConn(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		_ = c.Close()
		return nil, errors.New("it is no relay")
	}
	return conn, nil
}

// receive waits for a packet.
func (i *inbox) receive(m *ipv4.Message) error {
	n, err := i.conn.Read(i.buf)
	if err != nil {
		return err
	}
	return readFrame(i.buf[:n], m)
}

// outbox is the end of a relay by which packets go to another process. One goroutine at a time
// may send.
type outbox struct {
	conn *net.UnixConn
	raw  syscall.RawConn
	buf  []byte
}

// newOutbox takes a file over.
func newOutbox(f *os.File) (*outbox, error) {
	conn, err := relayConn(f)
	if err != nil {
		return nil, err
	}
	growBuffer(conn)
	raw, err := conn.SyscallConn()
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &outbox{conn: conn, raw: raw}, nil
}

// send sends a packet, if there is room: one that is lost is sent again by the client. It returns
// false if the process at the other end is gone.
func (o *outbox) send(m *ipv4.Message) bool {
	frame, err := appendFrame(o.buf[:0], m)
	if err != nil {
		return true // and it is lost
	}
	o.buf = frame
	return o.sendFrame(frame)
}

// isOpen reports whether the process at the other end is there. It may be called at any time.
func (o *outbox) isOpen() bool { return o.sendFrame(nil) } // which is no packet there

func (o *outbox) sendFrame(frame []byte) bool {
	var err error
	if failed := o.raw.Control(func(fd uintptr) { err = sendNow(fd, frame) }); failed != nil {
		err = failed
	}
	return err == nil || isFull(err)
}
