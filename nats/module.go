// Package nats is the fleet of parachute on NATS JetStream: Caddy's modules parachute.fleet.nats, for what the
// proxies decide, and caddy.storage.parachute_nats, for their certificates. `parachute run --fleet nats://...`
// uses both in a program that has them built in.
package nats

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	_ "github.com/parachute-proxy/parachute" // so that a program with this module has all of parachute
	"github.com/parachute-proxy/parachute/internal/fleet"
)

func init() {
	caddy.RegisterModule(new(Fleet))
	caddy.RegisterModule(new(Storage))
}

// Interface guards.
var (
	_ caddy.Provisioner      = (*Fleet)(nil)
	_ fleet.Opener           = (*Fleet)(nil)
	_ caddy.Provisioner      = (*Storage)(nil)
	_ caddy.StorageConverter = (*Storage)(nil)
	_ caddy.CleanerUpper     = (*Storage)(nil)
	_ caddyfile.Unmarshaler  = (*Storage)(nil)
)

// Fleet has the proxies of a fleet meet in NATS: one of the user's, or one that three or five of the
// proxies run.
type Fleet struct {
	Connection
}

// CaddyModule returns the Caddy module information.
func (*Fleet) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "parachute.fleet.nats", New: func() caddy.Module { return new(Fleet) }}
}

// Provision checks the config.
func (f *Fleet) Provision(caddy.Context) error { return f.check() }

// Open implements [fleet.Opener].
func (f *Fleet) Open(name, dir string, logger *zap.Logger) (fleet.Store, func(), error) {
	l, release, err := f.open(name, dir, logger)
	if err != nil {
		return nil, nil, err
	}
	s := newStore(l)
	return s, func() {
		s.close()
		release()
	}, nil
}
