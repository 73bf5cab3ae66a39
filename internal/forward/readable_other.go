//go:build !unix

package forward

import "net"

// readiness waits for a connection to have something to read.
type readiness struct{}

func newReadiness(net.Conn) *readiness { return nil }

func (*readiness) wait() {}
