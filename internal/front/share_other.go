//go:build !unix

package front

import "syscall"

// Elsewhere, addresses cannot overlap.

func isInUse(error) bool { return false }

func shareAddress([]syscall.Conn) bool { return false }

func shutDown(any) {} // no process takes over from another one

func controlShareAddress(string, string, syscall.RawConn) error { return nil }
