package handoff

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"syscall"
)

// hasDied reports whether there is no process of that number any more, or nothing but its exit
// status. Where its number says nothing, as in another container, it lives.
func hasDied(pid int) bool {
	if pid <= 1 {
		return false
	}
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // "pid (name) state ..."
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	_, state, _ := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(" "))
	return len(state) > 0 && (state[0] == 'Z' || state[0] == 'X')
}
