package run

import (
	"errors"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/parachute-proxy/parachute/internal/front"
	"github.com/parachute-proxy/parachute/internal/handoff"
)

// A service manager can have the sockets of the proxy: it opened them (systemd.socket(5)), or
// keeps them while the proxy restarts (FileDescriptorStoreMax in systemd.service(5)). Then
// connections wait while no proxy runs, and none is refused.

const (
	// firstManagerSocket is the first descriptor that a manager passes (sd_listen_fds(3)).
	firstManagerSocket = 3
	// storedPrefix begins the names of the sockets that we have the manager keep.
	storedPrefix = "parachute.kept."
)

// managerSockets returns the sockets that the service manager passes to this process, by the
// names that package front has for them. The variables that tell of them are unset: they are
// not for the programs that this one starts.
func managerSockets() map[string]*os.File {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(name)
	}
	n, err := strconv.Atoi(count)
	if err != nil || pid != strconv.Itoa(os.Getpid()) {
		return nil
	}
	sockets := make(map[string]*os.File)
	for i := range n {
		file := os.NewFile(uintptr(firstManagerSocket+i), "from the service manager")
		name := ""
		if i < len(names) {
			name = names[i]
		}
		key, err := managerSocketName(name, file)
		if err != nil || sockets[key] != nil {
			_ = file.Close() // it is no socket for TCP or UDP, or there are two of them
			continue
		}
		handoff.CloseOnExec(file)
		sockets[key] = file
	}
	return sockets
}

// managerSocketName returns the name of a socket: that by which it was given to the manager, or
// that of the address on which it listens.
func managerSocketName(name string, file *os.File) (string, error) {
	if stored, ok := strings.CutPrefix(name, storedPrefix); ok {
		return strings.ReplaceAll(stored, "_", ":"), nil
	}
	if l, err := net.FileListener(file); err == nil {
		defer l.Close()
		if addr, ok := l.Addr().(*net.TCPAddr); ok {
			return socketName("tcp", addr.IP, addr.Port), nil
		}
		return "", errors.ErrUnsupported
	}
	conn, err := net.FilePacketConn(file)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if addr, ok := conn.LocalAddr().(*net.UDPAddr); ok {
		return socketName("udp", addr.IP, addr.Port), nil
	}
	return "", errors.ErrUnsupported
}

func socketName(network string, ip net.IP, port int) string {
	host := ip.String()
	if ip.IsUnspecified() && ip.To4() == nil {
		host = "" // all addresses, of both versions of IP
	}
	return front.SocketName(network, host, strconv.Itoa(port))
}

// storeSockets has the service manager keep the sockets for TCP and UDP, if it says that it does so
// (FDSTORE in systemd.exec(5)). unused are those that it has passed, and that are not used.
func storeSockets(unused []string) {
	if os.Getenv("FDSTORE") == "" {
		return
	}
	conn := DialManager()
	if conn == nil {
		return
	}
	defer conn.Close()
	for _, name := range unused {
		_, _ = conn.Write([]byte("FDSTOREREMOVE=1\nFDNAME=" + storedName(name)))
	}
	for _, s := range front.Sockets() {
		if !front.IsIP(s.Name) {
			continue // the file of a Unix socket says whether the proxy runs
		}
		if err := handoff.SendDescriptor(conn, "FDSTORE=1\nFDNAME="+storedName(s.Name), handoff.Socket(s)); err != nil {
			return
		}
	}
	front.Keep()
}

// DialManager returns a connection to the service manager that runs this process (sd_notify(3)), or
// nil if there is none.
func DialManager() *net.UnixConn {
	address := os.Getenv("NOTIFY_SOCKET")
	if address == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		return nil
	}
	return conn
}

// storedName returns the name of a socket as the manager may have it: without colons.
func storedName(name string) string { return storedPrefix + strings.ReplaceAll(name, ":", "_") }
