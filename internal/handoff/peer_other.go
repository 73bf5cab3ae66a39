//go:build !linux

package handoff

import "net"

// checkPeer leaves it to the permissions of the socket who may take over.
func checkPeer(*net.UnixConn) error { return nil }
