package spool

import (
	"os"

	"golang.org/x/sys/unix"
)

// tempFile returns a file that has no name in dir, or has lost it. O_TMPFILE makes one that
// never has a name (open(2)); not every file system knows it.
func tempFile(dir string) (*os.File, error) {
	file, err := os.OpenFile(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return file, nil
	}
	return unlinkedFile(dir)
}
