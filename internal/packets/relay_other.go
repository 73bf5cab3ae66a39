//go:build !unix

package packets

import (
	"errors"
	"net"
	"os"
)

// Elsewhere, no process takes over from another one.

func socketPair() (ours, theirs *os.File, err error) { return nil, nil, errors.ErrUnsupported }

func growBuffer(*net.UnixConn) {}

func sendNow(uintptr, []byte) error { return errors.ErrUnsupported }

func isFull(error) bool { return false }
