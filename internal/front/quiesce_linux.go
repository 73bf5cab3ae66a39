package front

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// dropNew is a filter that drops a segment that opens a connection, and lets others pass:
// handshakes that are under way come to their end.
var dropNew = [...]unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 13},                   // the flags of TCP
	{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: 0x02, Jt: 0, Jf: 1}, // SYN?
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	{Code: unix.BPF_RET | unix.BPF_K, K: 1<<32 - 1},
}

// quiesce has the system open no more connections to a socket. A client that tries asks
// again after a second, and is refused when the socket is closed by then. Without this, a
// connection could be opened in the instant before, and be reset.
func quiesce(ln net.Listener) {
	socket, ok := ln.(*net.TCPListener)
	if !ok {
		return
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		program := unix.SockFprog{Len: uint16(len(dropNew)), Filter: &dropNew[0]}
		_ = unix.SetsockoptSockFprog(int(fd), syscall.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program)
	})
}
