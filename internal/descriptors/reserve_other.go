//go:build !unix

package descriptors

import "syscall"

// Elsewhere, descriptors are not numbered like this, and there is no limit to speak of.

func reserved(syscall.Conn) bool { return false }

// Scarce reports whether there is no descriptor left for another connection.
func Scarce() bool { return false }

// Control is a [net.Dialer.Control] that makes no connection of the last descriptors.
func Control(string, string, syscall.RawConn) error { return nil }
