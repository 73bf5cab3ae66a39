//go:build unix

package run

import (
	"errors"
	"os"
	"syscall"
)

// tryLock locks f for as long as it is open, or returns false if another process
// has it locked.
func tryLock(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}
