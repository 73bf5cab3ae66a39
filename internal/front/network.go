package front

import (
	"context"
	"net"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Names of networks for Caddy's listen addresses.
const (
	// NetworkTCP is TCP by sockets that all configs share, as in parachute/:80.
	// NetworkTCP4 and NetworkTCP6 are for one version of IP.
	NetworkTCP  = "parachute"
	NetworkTCP4 = "parachute4"
	NetworkTCP6 = "parachute6"
	// NetworkUnix is the same for Unix sockets, as in unix+parachute//run/site.sock|0660.
	// Caddy takes what begins with unix for such.
	NetworkUnix = "unix+parachute"
	// NetworkAdmin is TCP for Caddy's admin endpoint, and for nothing else, and
	// NetworkAdminUnix a Unix socket for it.
	NetworkAdmin     = "parachute-admin"
	NetworkAdminUnix = "unix+parachute-admin"
)

// networks are what Caddy's networks become.
var networks = map[string]string{"tcp": NetworkTCP, "tcp4": NetworkTCP4, "tcp6": NetworkTCP6, "unix": NetworkUnix}

// Shared returns the network of shared sockets that stands for one of Caddy's, and whether
// there is one.
func Shared(network string) (string, bool) {
	shared, ok := networks[network]
	return shared, ok
}

// IsShared reports whether a network of Caddy's is one of those.
func IsShared(network string) bool {
	for _, shared := range networks {
		if network == shared {
			return true
		}
	}
	return false
}

// Plain returns a listen address as it is without this package: parachute/:80 is :80.
func Plain(address string) string {
	network, rest, _ := strings.Cut(address, "/")
	for system, shared := range networks {
		switch {
		case network != shared:
		case system == "tcp":
			return rest
		default:
			return system + "/" + rest
		}
	}
	return address
}

// adminNetworks are what Caddy's networks become for the admin endpoint.
var adminNetworks = map[string]string{"tcp": NetworkAdmin, "unix": NetworkAdminUnix}

// SharedAdmin is [Shared] for the admin endpoint.
func SharedAdmin(network string) (string, bool) {
	shared, ok := adminNetworks[network]
	return shared, ok
}

// process are the sockets of this process.
var process sockets

// RegisterNetworks makes the networks known to Caddy. It is to be called once, by an init
// function.
func RegisterNetworks() {
	for system, shared := range networks {
		caddy.RegisterNetwork(shared, func(ctx context.Context, _, host, ports string, offset uint, cfg net.ListenConfig) (any, error) {
			a, err := parseAddress(system, host, ports, offset)
			if err != nil {
				return nil, err
			}
			return process.listen(ctx, a, cfg)
		})
	}
	for system, shared := range adminNetworks {
		caddy.RegisterNetwork(shared, func(ctx context.Context, _, host, ports string, offset uint, cfg net.ListenConfig) (any, error) {
			a, err := parseAddress(system, host, ports, offset)
			if err != nil {
				return nil, err
			}
			return process.listenAdmin(ctx, a, cfg)
		})
	}
	for shared, udp := range map[string]string{NetworkTCP: "udp", NetworkTCP4: "udp4", NetworkTCP6: "udp6"} {
		ofQUIC := shared + "-udp"
		caddy.RegisterNetwork(ofQUIC, func(ctx context.Context, _, host, ports string, offset uint, cfg net.ListenConfig) (any, error) {
			return process.listenUDP(ctx, udp, host, ports, offset, cfg)
		})
		caddyhttp.RegisterNetworkHTTP3(shared, ofQUIC)
	}
}
