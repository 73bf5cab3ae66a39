//go:build !unix

package sockio

import (
	"errors"
	"syscall"
)

// Supported says whether sockets can be used without net.
const Supported = false

// Read cannot be called here.
func Read(syscall.RawConn, []byte) (int, error) { return 0, errors.ErrUnsupported }

// Write cannot be called here.
func Write(syscall.RawConn, []byte) (int, error) { return 0, errors.ErrUnsupported }
