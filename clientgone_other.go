//go:build !unix

package parachute

// canWatchClient says that a socket can be looked at without reading from it.
const canWatchClient = false

// OnGone is never called.
func (*clientConn) OnGone(func()) (stop func()) { return func() {} }
