//go:build unix

package client

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/parachute-proxy/parachute/internal/api"
)

// CheckPrivate refuses a default directory that belongs to someone else: in a
// shared temporary directory, anyone could have made it.
func CheckPrivate(dir string) error {
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no one can be in it
	}
	if err != nil {
		return &api.Error{Code: api.CodeInternal, Message: fmt.Sprintf("checking the directory of the admin socket: %v", err)}
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Getuid() {
		return &api.Error{Code: api.CodeInternal, Message: dir + " belongs to another user", Hint: "choose another path with --admin"}
	}
	if info.Mode().Perm()&0o022 != 0 {
		return &api.Error{Code: api.CodeInternal, Message: "others may write to " + dir, Hint: "run: chmod 700 " + dir}
	}
	return nil
}
