package client

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
)

// listenAs listens on a port of the loopback interface as a user does: a socket belongs to
// the user of the thread that makes it.
func listenAs(t *testing.T, uid int, network, address string) net.Listener {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if uid != os.Getuid() {
		if err := syscall.Setfsuid(uid); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = syscall.Setfsuid(os.Getuid()) }()
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Skipf("listening on %s: %v", address, err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// Any user can listen on port 2019, and would be told what root deploys, and could tell root
// that it is done.
func TestEndpointOfAnotherUserIsNotAskedUnlessItIsNamed(t *testing.T) {
	const other = 65534
	at := func(l net.Listener) endpoint {
		return endpoint{Address: Address{Network: "tcp", Address: l.Addr().String()}}
	}
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"} {
		own := at(listenAs(t, os.Getuid(), "tcp", address))
		if _, err := find([]endpoint{own}); err != nil {
			t.Errorf("our own on %s: %v", address, err)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("skipped: only root can become another user")
	}
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"} {
		foreign := at(listenAs(t, other, "tcp", address))
		_, err := find([]endpoint{{Address: Address{Network: "unix", Address: "/nowhere/x.sock"}}, foreign})
		if api.ErrorCode(err) != CodeUnreachable || !strings.Contains(err.Error(), "belongs to another user (uid 65534)") ||
			!strings.Contains(err.Error(), "no proxy answers at unix//nowhere/x.sock") {
			t.Errorf("on %s: %v", address, err)
		}
		foreign.named = true
		if _, err := find([]endpoint{foreign}); err != nil {
			t.Errorf("named, on %s: %v", address, err)
		}
	}
	// Of two listeners, the one on the address is asked.
	everywhere := listenAs(t, other, "tcp6", "[::]:0")
	_, port, _ := net.SplitHostPort(everywhere.Addr().String())
	exact := listenAs(t, 0, "tcp4", "127.0.0.1:"+port)
	if _, err := find([]endpoint{at(exact)}); err != nil {
		t.Errorf("behind another user's on ::, ours on 127.0.0.1: %v", err)
	}
}

// Every connection is made to whoever listens then.
func TestEndpointThatChangesHandsIsNotAsked(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("skipped: only root can become another user")
	}
	l := listenAs(t, 0, "tcp", "127.0.0.1:0")
	e := endpoint{Address: Address{Network: "tcp", Address: l.Addr().String()}}
	if _, err := find([]endpoint{e}); err != nil {
		t.Fatal(err)
	}
	l.Close()
	listenAs(t, 65534, "tcp", e.Address.Address)
	if _, err := newClient(e).Services(t.Context()); err == nil || !strings.Contains(err.Error(), "another user") {
		t.Errorf("%v", err)
	}
}

// Whoever has made a default directory in /tmp takes no proxy away from its user.
func TestForeignDirectoryHidesNoProxy(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("skipped: only root can become another user")
	}
	foreign, own := t.TempDir(), t.TempDir()
	if err := os.Chown(foreign, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{foreign, own} {
		l, err := net.Listen("unix", filepath.Join(dir, "admin.sock"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	in := func(dir string) endpoint { return endpoint{Address: adminSocketIn(dir), private: true} }
	if e, err := find([]endpoint{in(foreign), in(own)}); err != nil || e.Address != adminSocketIn(own) {
		t.Errorf("%v, %v", e, err)
	}
	if _, err := find([]endpoint{in(foreign)}); err == nil || !strings.Contains(err.Error(), foreign+" belongs to another user") {
		t.Errorf("%v", err)
	}
}
