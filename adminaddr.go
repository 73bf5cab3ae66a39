package parachute

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/parachute-proxy/parachute/internal/proxy"
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

// defaultAdminSocket is the socket that the proxy listens on, and that commands
// look for, when no one says otherwise. It belongs to the user, so that no other
// user of the machine can drive deploys.
func defaultAdminSocket() adminAddress {
	return adminAddress{"unix", filepath.Join(runtimeDir(), "admin.sock")}
}

func runtimeDir() string {
	if os.Getuid() == 0 {
		return "/run/parachute"
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "parachute")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("parachute-%d", os.Getuid()))
}

// defaultCaddyAdmin is where an ordinary Caddy listens.
var defaultCaddyAdmin = adminAddress{"tcp", "localhost:2019"}

// candidates returns the endpoints to try, the best first. given is the value of
// --admin, which includes that of PARACHUTE_ADMIN.
func candidates(given string) ([]adminAddress, error) {
	if given == "" {
		return []adminAddress{defaultAdminSocket(), defaultCaddyAdmin}, nil
	}
	a, err := parseAdminAddress(given)
	if err != nil {
		return nil, &proxy.Error{Code: proxy.CodeInvalid, Message: err.Error()}
	}
	return []adminAddress{a}, nil
}
