package spool

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"sync"
	"testing"
)

func newSpace(t *testing.T, l Limits) *Space {
	t.Helper()
	if l.Dir == "" {
		l.Dir = t.TempDir()
	}
	s := new(Space)
	s.SetLimits(l)
	return s
}

// fill writes a body in pieces of odd sizes.
func fill(t *testing.T, s *Spool, size int) []byte {
	t.Helper()
	body := make([]byte, size)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(body)
	for rest := body; len(rest) > 0; {
		n := min(len(rest), 777)
		if _, err := s.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	return body
}

func TestWhatIsKeptIsReadBack(t *testing.T) {
	t.Parallel()
	space := newSpace(t, Limits{})
	for _, memory := range []int64{0, 1, 1000, 1 << 20} {
		for _, size := range []int{0, 1, 776, 777, 1000, 50_000} {
			s := space.New(memory)
			body := fill(t, s, size)
			var readers sync.WaitGroup
			for range 3 {
				readers.Go(func() {
					if got, err := io.ReadAll(s.Reader()); err != nil || !bytes.Equal(got, body) {
						t.Errorf("%d bytes, %d of them in memory: %d are read, %v", size, memory, len(got), err)
					}
				})
			}
			readers.Wait()
			for _, offset := range []int{0, size / 3, size, size + 1} {
				p := make([]byte, 900)
				n, err := s.ReadAt(p, int64(offset))
				want := body[min(offset, size):min(offset+900, size)]
				if !bytes.Equal(p[:n], want) || (err == io.EOF) != (offset+900 >= size) {
					t.Errorf("%d bytes, %d of them in memory, from %d: %d bytes, %v", size, memory, offset, n, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if memory, disk := space.Usage(); memory != 0 || disk != 0 {
		t.Errorf("%d bytes in memory and %d on disk are counted for nothing", memory, disk)
	}
}

// TestFilesHaveNoName is about a process that is killed: nobody would remove its files.
func TestFilesHaveNoName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newSpace(t, Limits{Dir: dir}).New(0)
	defer s.Close()
	fill(t, s, 10_000)
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("files in the directory: %v, %v", files, err)
	}
}

func TestMemoryOfAllSpoolsIsBounded(t *testing.T) {
	t.Parallel()
	space := newSpace(t, Limits{MaxMemory: 1000})
	a, b := space.New(1<<20), space.New(1<<20)
	defer a.Close()
	defer b.Close()
	fill(t, a, 900)
	body := fill(t, b, 5000)
	if memory, disk := space.Usage(); memory > 1000 || memory+disk != 5900 {
		t.Errorf("%d bytes are in memory, and %d on disk, want at most 1000 in memory", memory, disk)
	}
	if got, err := io.ReadAll(b.Reader()); err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d of %d bytes are read, %v", len(got), len(body), err)
	}
}

func TestDiskOfAllSpoolsIsBounded(t *testing.T) {
	t.Parallel()
	space := newSpace(t, Limits{MaxDisk: 2000})
	a, b := space.New(0), space.New(0)
	defer b.Close()
	body := fill(t, a, 1500)
	if _, err := b.Write(make([]byte, 600)); !errors.Is(err, ErrFull) {
		t.Errorf("more than there may be: %v, want ErrFull", err)
	}
	if _, disk := space.Usage(); disk != 1500 || space.Full() != 1 {
		t.Errorf("%d bytes are counted, and %d times no room, want 1500 and 1", disk, space.Full())
	}
	if got, err := io.ReadAll(a.Reader()); err != nil || !bytes.Equal(got, body) {
		t.Errorf("what was kept before is harmed: %d bytes, %v", len(got), err)
	}
	_ = a.Close()
	_ = a.Close() // which gives nothing back twice
	if _, err := b.Write(make([]byte, 600)); err != nil {
		t.Errorf("there is room again: %v", err)
	}
}

func TestDirectoryThatIsMissingIsAnError(t *testing.T) {
	t.Parallel()
	space := newSpace(t, Limits{Dir: t.TempDir() + "/missing"})
	s := space.New(10)
	defer s.Close()
	if _, err := s.Write(make([]byte, 10)); err != nil {
		t.Errorf("memory: %v", err)
	}
	if _, err := s.Write(make([]byte, 10)); !errors.Is(err, ErrFull) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, want ErrFull with its reason", err)
	}
	if got, err := io.ReadAll(s.Reader()); err != nil || len(got) != 10 {
		t.Errorf("%d bytes are read, %v, want those that were kept", len(got), err)
	}
}

// TestSmallMachinesKeepLessInMemory is about containers with a memory limit.
func TestSmallMachinesKeepLessInMemory(t *testing.T) {
	before := debug.SetMemoryLimit(100 << 20)
	defer debug.SetMemoryLimit(before)
	if got := (Limits{}).withDefaults().MaxMemory; got != 25<<20 {
		t.Errorf("%d bytes may be in memory, want a quarter of the limit", got)
	}
	debug.SetMemoryLimit(math.MaxInt64)
	if got := (Limits{}).withDefaults().MaxMemory; got != DefaultMaxMemory {
		t.Errorf("without a limit, %d bytes may be in memory", got)
	}
}
