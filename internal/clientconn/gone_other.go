//go:build !unix

package clientconn

// canWatchClient says that a socket can be looked at without reading from it.
const canWatchClient = false

// OnGone is never called.
func (*Conn) OnGone(func()) (stop func()) { return func() {} }
