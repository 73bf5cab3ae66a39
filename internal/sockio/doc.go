// Package sockio reads from and writes to sockets that never block, without a word to Go's scheduler.
//
// The calls of [net.Conn] tell the scheduler that a call of the system begins, which may block. A goroutine of the
// runtime looks for calls that last longer than 20 microseconds, gives the processor of each to another thread, and
// looks as often again while it finds any. A write to a socket can last that long, because the system
// does there what the other side has to do for it. It does not block for that, and it is most of what a proxy does:
// the looks, and threads that hand on a processor, cost it up to a fifth of its time.
//
// Calls that copy much tell the scheduler, as they do elsewhere.
package sockio
