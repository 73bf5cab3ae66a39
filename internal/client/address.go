package client

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Address is where an admin endpoint listens.
type Address struct {
	Network string // "unix" or "tcp"
	Address string // a path, or host:port
	// Mode is the permissions of a Unix socket, in octal digits; empty means the
	// user's alone. It matters to the program that listens.
	Mode string
}

// ParseAdminAddress parses the address of an admin endpoint: host:port, which may have
// http:// in front, or the path of a Unix socket, which may be written as Caddy does
// (unix//path, unix//path|0660), as a URL (unix:///path), or alone.
func ParseAdminAddress(s string) (Address, error) {
	if socket, ok := socketPath(s); ok {
		socket, mode, hasMode := strings.Cut(socket, "|")
		if hasMode {
			if n, err := strconv.ParseUint(mode, 8, 32); err != nil || n > 0o777 {
				return Address{}, fmt.Errorf("admin address %q has the permissions %q; write them as in unix//run/parachute/admin.sock|0660", s, mode)
			}
		}
		if !filepath.IsAbs(socket) || filepath.Clean(socket) == "/" {
			return Address{}, fmt.Errorf("admin address %q needs an absolute path, as in unix//run/parachute/admin.sock", s)
		}
		return Address{Network: "unix", Address: filepath.Clean(socket), Mode: mode}, nil
	}
	hostport := strings.TrimSuffix(strings.TrimPrefix(s, "http://"), "/")
	host, port, err := net.SplitHostPort(hostport)
	if err != nil || port == "" || strings.Contains(hostport, "/") {
		return Address{}, fmt.Errorf("admin address %q is neither the path of a socket, as in unix//run/parachute/admin.sock, nor host:port", s)
	}
	return Address{Network: "tcp", Address: net.JoinHostPort(host, port)}, nil
}

// socketPath returns the path in the address of a Unix socket, and whether it is one.
func socketPath(s string) (string, bool) {
	for _, prefix := range []string{"unix://", "unix:", "unix/"} {
		if path, ok := strings.CutPrefix(s, prefix); ok {
			return path, true
		}
	}
	return s, strings.HasPrefix(s, "/")
}

func (a Address) String() string {
	if a.Network == "unix" {
		return "unix/" + a.Address
	}
	return a.Address
}

// Listen returns the address as Caddy listens on it: a Unix socket has permissions.
func (a Address) Listen() string {
	if a.Network == "unix" {
		return a.String() + "|" + cmp.Or(a.Mode, "0600")
	}
	return a.String()
}

// rootRuntimeDir is where a proxy that root runs has its socket.
const rootRuntimeDir = "/run/parachute"

// adminSocketIn returns the default socket in a directory.
func adminSocketIn(dir string) Address {
	return Address{Network: "unix", Address: filepath.Join(dir, "admin.sock")}
}

// DefaultAdminSocket is the socket that the proxy listens on when no one says
// otherwise. It belongs to the user, so that no other user of the machine can
// drive deploys.
func DefaultAdminSocket() Address { return adminSocketIn(thisUser().listenDir()) }

// user is what the default places depend on.
type user struct {
	uid        int
	runtimeDir string // XDG_RUNTIME_DIR
	tempDir    string
	// loginDir is what systemd sets XDG_RUNTIME_DIR to when the user logs in.
	loginDir string
}

func thisUser() user {
	uid := os.Getuid()
	return user{uid, os.Getenv("XDG_RUNTIME_DIR"), os.TempDir(), fmt.Sprintf("/run/user/%d", uid)}
}

// listenDir returns the directory that a proxy of the user's has its socket in.
func (u user) listenDir() string {
	switch {
	case u.uid == 0:
		return rootRuntimeDir
	case u.runtimeDir != "":
		return filepath.Join(u.runtimeDir, "parachute")
	}
	return filepath.Join(u.tempDir, fmt.Sprintf("parachute-%d", u.uid))
}

// searchDirs returns the directories that a proxy of the user's may have its socket in,
// the likeliest first. The environment of a command is often not that of the proxy: a
// service has no XDG_RUNTIME_DIR, and neither has what sudo or cron runs.
func (u user) searchDirs() []string {
	if u.uid == 0 {
		return []string{rootRuntimeDir}
	}
	login := u
	login.runtimeDir = u.loginDir
	loggedOut := u
	loggedOut.runtimeDir = ""
	var all []string
	for _, dir := range []string{u.listenDir(), login.listenDir(), loggedOut.listenDir()} {
		if !slices.Contains(all, dir) {
			all = append(all, dir)
		}
	}
	return all
}
