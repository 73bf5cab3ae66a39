package client

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/parachute-proxy/parachute/internal/api"
)

// Address is where an admin endpoint listens.
type Address struct {
	Network string // "unix" or "tcp"
	Address string // a path, or host:port
}

// ParseAdminAddress parses unix//path and host:port, which may have http:// in
// front.
func ParseAdminAddress(s string) (Address, error) {
	if socket, ok := strings.CutPrefix(s, "unix/"); ok {
		if !filepath.IsAbs(socket) || strings.ContainsRune(socket, '|') {
			return Address{}, fmt.Errorf("admin address %q needs an absolute path, as in unix//run/parachute/admin.sock", s)
		}
		return Address{"unix", filepath.Clean(socket)}, nil
	}
	hostport := strings.TrimSuffix(strings.TrimPrefix(s, "http://"), "/")
	host, port, err := net.SplitHostPort(hostport)
	if err != nil || port == "" || strings.Contains(hostport, "/") {
		return Address{}, fmt.Errorf("admin address %q is neither unix//path nor host:port", s)
	}
	return Address{"tcp", net.JoinHostPort(host, port)}, nil
}

func (a Address) String() string {
	if a.Network == "unix" {
		return "unix/" + a.Address
	}
	return a.Address
}

// rootRuntimeDir is where a proxy that root runs has its socket.
const rootRuntimeDir = "/run/parachute"

// adminSocketIn returns the default socket in a directory.
func adminSocketIn(dir string) Address {
	return Address{"unix", filepath.Join(dir, "admin.sock")}
}

// DefaultAdminSocket is the socket that the proxy listens on when no one says
// otherwise. It belongs to the user, so that no other user of the machine can
// drive deploys.
func DefaultAdminSocket() Address { return adminSocketIn(runtimeDirs()[0]) }

// runtimeDirs returns the directories that a proxy of this user may have its
// socket in, the preferred one first. The environment of a service is often not
// that of a login.
func runtimeDirs() []string {
	if os.Getuid() == 0 {
		return []string{rootRuntimeDir}
	}
	temporary := filepath.Join(os.TempDir(), fmt.Sprintf("parachute-%d", os.Getuid()))
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return []string{filepath.Join(dir, "parachute"), temporary}
	}
	return []string{temporary}
}

// defaultCaddyAdmin is where an ordinary Caddy listens.
var defaultCaddyAdmin = Address{"tcp", "localhost:2019"}

// candidates returns the endpoints to try, the best first. given is the value of
// --admin, which includes that of PARACHUTE_ADMIN.
func candidates(given string) ([]Address, error) {
	if given == "" {
		var all []Address
		for _, dir := range runtimeDirs() {
			// In a shared temporary directory, anyone could answer in the proxy's
			// name. Root's is in none, and may be that of a service's user.
			if err := CheckPrivate(dir); err != nil && os.Getuid() != 0 {
				return nil, &api.Error{Code: CodeUnreachable, Message: err.Error()}
			}
			all = append(all, adminSocketIn(dir))
		}
		if os.Getuid() != 0 {
			all = append(all, adminSocketIn(rootRuntimeDir))
		}
		return append(all, defaultCaddyAdmin), nil
	}
	a, err := ParseAdminAddress(given)
	if err != nil {
		return nil, &api.Error{Code: api.CodeInvalid, Message: err.Error()}
	}
	return []Address{a}, nil
}
