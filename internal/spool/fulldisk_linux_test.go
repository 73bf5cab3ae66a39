package spool

import (
	"bytes"
	"errors"
	"io"
	"os"
	"syscall"
	"testing"
)

// smallDisk returns a directory on a file system of its own with room for size bytes.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("mounting a file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func TestFullDiskTakesNothingFromOthers(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, "size=64k")
	space := newSpace(t, Limits{Dir: dir})
	a, b := space.New(0), space.New(0)
	defer b.Close()
	body := fill(t, a, 50_000)
	piece, full := make([]byte, 8<<10), error(nil)
	for range 16 {
		if _, full = b.Write(piece); full != nil {
			break
		}
	}
	if !errors.Is(full, ErrFull) || !errors.Is(full, syscall.ENOSPC) {
		t.Errorf("a full disk: %v, want ErrFull and ENOSPC", full)
	}
	if got, err := io.ReadAll(a.Reader()); err != nil || !bytes.Equal(got, body) {
		t.Errorf("what was kept before is harmed: %d bytes, %v", len(got), err)
	}
	_ = a.Close()
	if _, err := b.Write(piece); err != nil {
		t.Errorf("there is room again: %v", err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("files in the directory: %v, %v", files, err)
	}
}
