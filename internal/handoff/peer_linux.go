package handoff

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// checkPeer returns why the process at the other end may not take over: it is of another user,
// who is not root (SO_PEERCRED, unix(7)).
func checkPeer(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	failed := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	switch {
	case failed != nil:
		return failed
	case err != nil:
		return err
	case peer.Uid != 0 && int(peer.Uid) != os.Geteuid():
		return fmt.Errorf("the other process is of the user %d, and this one of %d", peer.Uid, os.Geteuid())
	}
	return nil
}
