package parachute

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/parachute-proxy/parachute/internal/api"
)

// adminAddress is where an admin endpoint listens.
type adminAddress struct {
	network string // "unix" or "tcp"
	address string // a path, or host:port
}

// parseAdminAddress parses unix//path and host:port, which may have http:// in
// front.
func parseAdminAddress(s string) (adminAddress, error) {
	if socket, ok := strings.CutPrefix(s, "unix/"); ok {
		if !filepath.IsAbs(socket) || strings.ContainsRune(socket, '|') {
			return adminAddress{}, fmt.Errorf("admin address %q needs an absolute path, as in unix//run/parachute/admin.sock", s)
		}
		return adminAddress{"unix", filepath.Clean(socket)}, nil
	}
	hostport := strings.TrimSuffix(strings.TrimPrefix(s, "http://"), "/")
	host, port, err := net.SplitHostPort(hostport)
	if err != nil || port == "" || strings.Contains(hostport, "/") {
		return adminAddress{}, fmt.Errorf("admin address %q is neither unix//path nor host:port", s)
	}
	return adminAddress{"tcp", net.JoinHostPort(host, port)}, nil
}

func (a adminAddress) String() string {
	if a.network == "unix" {
		return "unix/" + a.address
	}
	return a.address
}

// rootRuntimeDir is where a proxy that root runs has its socket.
const rootRuntimeDir = "/run/parachute"

// adminSocketIn returns the default socket in a directory.
func adminSocketIn(dir string) adminAddress {
	return adminAddress{"unix", filepath.Join(dir, "admin.sock")}
}

// defaultAdminSocket is the socket that the proxy listens on when no one says
// otherwise. It belongs to the user, so that no other user of the machine can
// drive deploys.
func defaultAdminSocket() adminAddress { return adminSocketIn(runtimeDirs()[0]) }

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
var defaultCaddyAdmin = adminAddress{"tcp", "localhost:2019"}

// candidates returns the endpoints to try, the best first. given is the value of
// --admin, which includes that of PARACHUTE_ADMIN.
func candidates(given string) ([]adminAddress, error) {
	if given == "" {
		var all []adminAddress
		for _, dir := range runtimeDirs() {
			// In a shared temporary directory, anyone could answer in the proxy's
			// name. Root's is in none, and may be that of a service's user.
			if err := checkPrivate(dir); err != nil && os.Getuid() != 0 {
				return nil, &api.Error{Code: codeUnreachable, Message: err.Error()}
			}
			all = append(all, adminSocketIn(dir))
		}
		if os.Getuid() != 0 {
			all = append(all, adminSocketIn(rootRuntimeDir))
		}
		return append(all, defaultCaddyAdmin), nil
	}
	a, err := parseAdminAddress(given)
	if err != nil {
		return nil, &api.Error{Code: api.CodeInvalid, Message: err.Error()}
	}
	return []adminAddress{a}, nil
}
