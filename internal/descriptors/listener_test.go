//go:build unix

package descriptors

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

const patience = 20 * time.Second

// takeAll opens files until only the reserved descriptors are left, and lowers the limit
// before so that these are few. give closes n of them again.
func takeAll(t *testing.T) (give func(n int)) {
	t.Helper()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	low := old
	low.Cur = 256
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Skipf("skipped: the limit cannot be lowered: %v", err)
	}
	var files []*os.File
	give = func(n int) {
		for _, f := range files[:n] {
			_ = f.Close()
		}
		files = files[n:]
	}
	t.Cleanup(func() {
		give(len(files))
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old)
	})
	for !Scarce() {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return give
}

func TestClientsWaitWhenOnlyTheLastDescriptorsAreLeft(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	waits := make(chan struct{}, 1)
	ours := NewListener(l, func() { waits <- struct{}{} })
	defer ours.Close()
	give := takeAll(t)
	client, err := net.Dial("tcp", l.Addr().String()) // which may use them
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, _ := ours.Accept()
		accepted <- c
	}()
	select {
	case <-waits:
	case <-time.After(patience):
		t.Fatal("it does not wait")
	}
	if f, err := os.Open(os.DevNull); err != nil {
		t.Errorf("there is no descriptor for others: %v", err)
	} else {
		f.Close()
	}
	select {
	case <-accepted:
		t.Fatal("it was accepted")
	default:
	}
	give(10)
	select {
	case c := <-accepted:
		defer c.Close()
		if reserved(c.(*net.TCPConn)) {
			t.Error("it has one of the last descriptors")
		}
		_, _ = io.WriteString(c, "hello")
		b := make([]byte, 5)
		_ = client.SetDeadline(time.Now().Add(patience))
		if _, err := io.ReadFull(client, b); err != nil || string(b) != "hello" {
			t.Errorf("it is not the client's: %q %v", b, err)
		}
	case <-time.After(patience):
		t.Fatal("it is not accepted when there are descriptors again")
	}
}

// A server that stops waits for its Accept.
func TestListenerThatIsClosedWaitsForNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	waits := make(chan struct{}, 1)
	ours := NewListener(l, func() { waits <- struct{}{} })
	takeAll(t)
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ended := make(chan struct{})
	go func() {
		if c, err := ours.Accept(); err == nil {
			_ = c.Close()
		}
		close(ended)
	}()
	<-waits
	_ = ours.Close()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("it waits")
	}
}

func TestDialsLeaveTheLastDescriptorsAlone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialer := net.Dialer{Control: Control}
	dial := func() error {
		c, err := dialer.DialContext(context.Background(), "tcp", l.Addr().String())
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	give := takeAll(t)
	if err := dial(); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("the dial ends with %v", err)
	}
	give(10)
	if err := dial(); err != nil {
		t.Errorf("with descriptors again: %v", err)
	}
}
