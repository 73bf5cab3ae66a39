package run

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/parachute-proxy/parachute/internal/cli"
	"github.com/parachute-proxy/parachute/internal/client"
)

func (o *options) adminListener() client.Address {
	if o.admin == "" {
		return client.DefaultAdminSocket()
	}
	a, _ := client.ParseAdminAddress(o.admin) // validated
	return a
}

// prepareAdminSocket makes the directory of the socket and refuses to start when
// another proxy listens there: Caddy would take the socket away from it. A socket
// that nobody listens on is what a killed proxy leaves behind; Caddy replaces it.
func (o *options) prepareAdminSocket() error {
	a := o.adminListener()
	conn, err := net.DialTimeout(a.Network, a.Address, time.Second)
	if err == nil {
		conn.Close()
		return cli.FailedStart("stop it, or give this proxy its own endpoint with --admin",
			"another proxy is running: it listens on the admin endpoint %s", a)
	}
	if a.Network == "tcp" {
		return nil
	}
	if info, err := os.Lstat(a.Address); err == nil && info.Mode().Type() != fs.ModeSocket {
		return cli.FailedStart("move it away, or choose another path with --admin", "%s is not a socket, so the admin endpoint cannot be made there", a.Address)
	}
	dir := filepath.Dir(a.Address)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return cli.FailedStart("choose another path with --admin", "making the directory of the admin socket: %v", err)
	}
	if o.admin == "" {
		return cli.AsFailedStart(client.CheckPrivate(dir))
	}
	return nil
}
