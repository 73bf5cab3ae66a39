//go:build unix

package sockio

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// pair returns the two ends of a connection, and the socket of the first.
func pair(t *testing.T) (near, far *net.TCPConn, raw syscall.RawConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	near, far = dialled.(*net.TCPConn), accepted.(*net.TCPConn)
	t.Cleanup(func() { near.Close(); far.Close() })
	if raw, err = near.SyscallConn(); err != nil {
		t.Fatal(err)
	}
	return near, far, raw
}

// Whatever the sizes are, and however slow the other side is: small calls and large ones take different ways.
func TestEverythingThatIsWrittenIsRead(t *testing.T) {
	_, far, raw := pair(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	sent := make([]byte, 4<<20)
	for i := range sent {
		sent[i] = byte(random.Uint32())
	}
	var writing sync.WaitGroup
	writing.Go(func() {
		for left := sent; len(left) > 0; {
			n, err := Write(raw, left[:min(len(left), 1+random.IntN(100<<10))])
			if err != nil {
				t.Error(err)
				break
			}
			left = left[n:]
		}
		_ = far.CloseRead()
	})
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("not all has arrived: %v", err)
	}
	writing.Wait()

	_, err := far.Write(sent[:100<<10])
	if err != nil {
		t.Fatal(err)
	}
	_ = far.CloseWrite()
	back, err := io.ReadAll(reader{raw})
	if err != nil || !bytes.Equal(back, sent[:100<<10]) {
		t.Errorf("%d bytes have come back, %v", len(back), err)
	}
}

type reader struct{ raw syscall.RawConn }

func (r reader) Read(p []byte) (int, error) { return Read(r.raw, p) }

func TestWaitEndsWithTheDeadlineAndWithTheConnection(t *testing.T) {
	near, far, raw := pair(t)
	_ = near.SetDeadline(time.Now().Add(10 * time.Millisecond))
	if n, err := Read(raw, make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read returns %d, %v", n, err)
	}
	large := make([]byte, 64<<20)
	_ = near.SetDeadline(time.Now().Add(100 * time.Millisecond))
	n, err := Write(raw, large)
	if n == 0 || n == len(large) || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write returns %d, %v", n, err)
	}
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%v is no timeout", err)
	}
	_ = near.SetDeadline(time.Time{})
	_ = far.SetLinger(0)
	_ = far.Close()
	if _, err := Read(raw, make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Read of a connection that was reset returns %v", err)
	}
	if _, err := Write(raw, large[:1]); !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("Write to a connection that was reset returns %v", err)
	}
	_ = near.Close()
	if _, err := Read(raw, make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read of a closed connection returns %v", err)
	}
	if _, err := Write(raw, large[:1]); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write to a closed connection returns %v", err)
	}
}

func TestNothingIsReadIntoNothing(t *testing.T) {
	_, _, raw := pair(t)
	if n, err := Read(raw, nil); n != 0 || err != nil {
		t.Errorf("Read returns %d, %v", n, err)
	}
	if n, err := Write(raw, nil); n != 0 || err != nil {
		t.Errorf("Write returns %d, %v", n, err)
	}
}

func TestTryReadWaitsForNothing(t *testing.T) {
	_, far, raw := pair(t)
	buf := make([]byte, 8)
	try := func() (n int, err error) {
		if failed := raw.Control(func(fd uintptr) { n, err = TryRead(int(fd), buf) }); failed != nil {
			t.Fatal(failed)
		}
		return n, err
	}
	if n, err := try(); n != 0 || err != syscall.EAGAIN {
		t.Errorf("of nothing, TryRead returns %d, %v", n, err)
	}
	_ = far.Close()
	if n, err := Read(raw, buf); n != 0 || err != io.EOF {
		t.Errorf("at the end, Read returns %d, %v", n, err)
	}
	if n, err := try(); n != 0 || err != nil {
		t.Errorf("at the end, TryRead returns %d, %v", n, err)
	}
}
