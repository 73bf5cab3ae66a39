package sockio

import (
	"errors"
	"io"
	"os"
	"syscall"
	"testing"
	"time"
)

func TestPollerTellsOnceOfASocketThatCanBeRead(t *testing.T) {
	p, err := NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	near, far, raw := pair(t)
	number := func(raw syscall.RawConn) (n int) {
		_ = raw.Control(func(fd uintptr) { n = int(fd) })
		return n
	}
	fd := number(raw)
	var told []int
	wait := func(limit time.Duration) error {
		told = nil
		p.WakeAt(time.Now().Add(limit))
		return p.Wait(func(fd int) { told = append(told, fd) })
	}
	wantTold := func(what string) {
		t.Helper()
		if err := wait(10 * time.Second); err != nil || len(told) != 1 || told[0] != fd {
			t.Errorf("%s: Wait tells of %v, %v", what, told, err)
		}
	}
	wantSilence := func(what string) {
		t.Helper()
		if err := wait(10 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) || told != nil {
			t.Errorf("%s: Wait tells of %v, %v", what, told, err)
		}
	}
	watch := func(again bool) {
		t.Helper()
		if err := p.Watch(fd, again); err != nil {
			t.Fatal(err)
		}
	}
	watch(false)
	wantSilence("nothing has come")
	_, _ = io.WriteString(far, "a")
	wantTold("a byte has come")
	_, _ = io.WriteString(far, "b")
	wantSilence("it has told already")
	watch(true)
	wantTold("there is something still")
	if _, err := io.ReadFull(near, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	watch(true)
	wantSilence("all has been read")
	_ = far.Close()
	wantTold("the other side has ended")
	watch(true)
	_ = near.Close()
	wantSilence("it is closed")
	if err := p.Watch(fd, true); err == nil {
		t.Error("a closed socket can be watched")
	}
}
