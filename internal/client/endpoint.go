package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// ConnectTimeout bounds how long a command waits for the proxy to accept it.
const ConnectTimeout = 5 * time.Second

// endpoint is where a proxy may be asked.
type endpoint struct {
	Address
	// named says that the user has given it. Then it is used, whatever program answers there.
	named bool
	// private says that the directory of the socket has to be the user's own: in a
	// shared temporary directory, anyone could have made it.
	private bool
}

// defaultCaddyAdmin is where an ordinary Caddy listens.
var defaultCaddyAdmin = Address{Network: "tcp", Address: "localhost:2019"}

// endpoints returns the endpoints to try, the best first. given is the value of
// --admin, which includes that of PARACHUTE_ADMIN.
func endpoints(given string) ([]endpoint, error) {
	if given != "" {
		a, err := ParseAdminAddress(given)
		if err != nil {
			return nil, &api.Error{Code: api.CodeInvalid, Message: err.Error()}
		}
		return []endpoint{{Address: a, named: true}}, nil
	}
	u := thisUser()
	var all []endpoint
	for _, dir := range u.searchDirs() {
		// Root's directory is made by root, and may be given to the user of a service.
		all = append(all, endpoint{Address: adminSocketIn(dir), private: dir != rootRuntimeDir})
	}
	if u.uid != 0 {
		all = append(all, endpoint{Address: adminSocketIn(rootRuntimeDir)})
	}
	return append(all, endpoint{Address: defaultCaddyAdmin}), nil
}

// foreignError is that of an endpoint which belongs to somebody else.
type foreignError struct{ reason string }

func (e foreignError) Error() string { return e.reason }

// dial connects to the endpoint. It returns a [foreignError] if that may not be asked.
func (e endpoint) dial(ctx context.Context) (net.Conn, error) {
	if e.private {
		if err := CheckPrivate(filepath.Dir(e.Address.Address)); err != nil {
			return nil, foreignError{err.Error()}
		}
	}
	d := net.Dialer{Timeout: ConnectTimeout}
	conn, err := d.DialContext(ctx, e.Network, e.Address.Address)
	if err != nil || e.Network != "tcp" || e.named {
		return conn, err
	}
	if err := checkListener(conn.RemoteAddr()); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// checkListener returns a [foreignError] unless the program that listens on a TCP port of
// this machine can be shown to be root's or this user's: any user can listen on a port
// from 1024 up, and would be told what root deploys.
func checkListener(addr net.Addr) error {
	tcp, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return foreignError{err.Error()}
	}
	uid, err := listenerOwner(tcp)
	switch {
	case err != nil:
		return foreignError{fmt.Sprintf("it is not known whose program listens on %s: %v", addr, err)}
	case uid != 0 && uid != os.Getuid():
		return foreignError{fmt.Sprintf("the program that listens on %s belongs to another user (uid %d)", addr, uid)}
	}
	return nil
}

// find returns the first endpoint that lets this user in.
func find(all []endpoint) (endpoint, error) {
	var tried, foreign []string
	for _, e := range all {
		conn, err := e.dial(context.Background())
		if err == nil {
			conn.Close()
			return e, nil
		}
		if errors.Is(err, fs.ErrPermission) {
			return endpoint{}, &api.Error{
				Code:    CodeUnreachable,
				Message: fmt.Sprintf("the admin endpoint %s does not let this user in: permission denied", e),
				Hint:    "run the command as the user that runs the proxy, for example with sudo",
			}
		}
		if _, ok := errors.AsType[foreignError](err); ok {
			foreign = append(foreign, err.Error())
			continue
		}
		tried = append(tried, e.String())
	}
	failed := &api.Error{
		Code:    CodeUnreachable,
		Message: "no proxy answers at " + strings.Join(tried, ", "),
		Hint:    "start one with: parachute run; if one runs, set --admin or PARACHUTE_ADMIN to its admin endpoint",
	}
	switch {
	case len(foreign) > 0 && len(tried) > 0:
		failed.Message += ", and " + strings.Join(foreign, ", and ")
	case len(foreign) > 0:
		failed.Message = strings.Join(foreign, ", and ")
	}
	if len(foreign) > 0 {
		failed.Hint = "start one with: parachute run; to use the endpoint of another user, give it with --admin or PARACHUTE_ADMIN"
	}
	return endpoint{}, failed
}
