// Package nats is the fleet of parachute on NATS JetStream: the module parachute.fleet.nats of Caddy.
// `parachute run --fleet nats://...` uses it in a program that has it built in.
package nats

import (
	"errors"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	_ "github.com/parachute-proxy/parachute" // so that a program with this module has all of parachute
	"github.com/parachute-proxy/parachute/internal/fleet"
)

func init() {
	caddy.RegisterModule(new(Fleet))
}

// Interface guards.
var (
	_ caddy.Provisioner = (*Fleet)(nil)
	_ fleet.Opener      = (*Fleet)(nil)
)

// Fleet has the proxies of a fleet meet in NATS: one of the user's, or one that three or five of the
// proxies run.
type Fleet struct {
	// URL is where NATS is: nats://user:password@a,b,c/bucket, or tls:// if it is a NATS of the user's that
	// has certificates which the system trusts. User, password, ports and bucket can be left
	// out. Required.
	URL string `json:"url"`
	// Server is which of the servers of URL this proxy itself runs, as a host with or without a port.
	// Default: none.
	Server string `json:"server,omitempty"`
	// SecretFile has what all proxies of the fleet know and nobody else: with it, they know each other
	// by certificates, and URL is that of their own servers. Required for Server.
	SecretFile string `json:"secret_file,omitempty"`

	address address
	secret  *secret
	server  string
}

// CaddyModule returns the Caddy module information.
func (*Fleet) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "parachute.fleet.nats", New: func() caddy.Module { return new(Fleet) }}
}

// Provision checks the config.
func (f *Fleet) Provision(caddy.Context) (err error) {
	if f.address, err = parseAddress(f.URL); err != nil {
		return err
	}
	if f.SecretFile == "" {
		if f.Server != "" {
			return errors.New("a server needs a secret: whoever reaches it could change what all proxies serve")
		}
		return nil
	}
	if f.secret, err = readSecret(f.SecretFile); err != nil {
		return err
	}
	if f.address.user != nil {
		return errors.New("the address of NATS has a user, and the servers of the fleet know a proxy by the secret alone")
	}
	if n := len(f.address.servers); n != 1 && n != 3 && n != 5 {
		return fmt.Errorf("the address of NATS has %d servers of the fleet; use three or five, or one to try it", n)
	}
	if f.Server == "" {
		return nil
	}
	if f.server, err = withPort(f.Server); err != nil {
		return err
	}
	if !slices.Contains(f.address.servers, f.server) {
		return fmt.Errorf("the server %s is none of those in the address of NATS", f.server)
	}
	for _, server := range f.address.servers {
		if _, _, err := clusterAddress(server); err != nil {
			return err
		}
	}
	return nil
}

// Open implements [fleet.Opener].
func (f *Fleet) Open(name, dir string, logger *zap.Logger) (fleet.Store, func(), error) {
	l := newLink(f.address, f.secret, f.server, name, dir, logger)
	return newStore(l), l.close, nil
}
