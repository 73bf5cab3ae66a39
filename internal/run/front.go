package run

import (
	"slices"
	"strings"

	"github.com/parachute-proxy/parachute/internal/front"
)

// throughFront has the process keep the sockets and the connections of all servers, and of the
// admin endpoint, when it reloads its config. It comes last: what is done with a config before
// compares addresses, and would not know those that it makes.
func throughFront(config object) {
	for _, v := range at(config, "apps", "http", "servers") {
		server, ok := v.(object)
		if !ok {
			continue // Caddy will say what is wrong with it
		}
		if list, ok := server["listen"].([]any); ok {
			list = slices.Clone(list)
			for i, item := range list {
				if address, ok := item.(string); ok {
					list[i] = sharedAddress(address, front.Shared)
				}
			}
			server["listen"] = list
		}
		wrappers, _ := server["listener_wrappers"].([]any)
		server["listener_wrappers"] = append(slices.Clip(wrappers), object{"wrapper": "parachute_front"})
	}
	admin := at(config, "admin")
	if address, ok := admin["listen"].(string); ok {
		admin["listen"] = sharedAddress(address, front.SharedAdmin)
	}
}

// sharedAddress returns an address as a server listens on it by a socket that all configs
// share. What is on no network that has such stays.
func sharedAddress(address string, networks func(string) (string, bool)) string {
	network, rest, found := strings.Cut(address, "/")
	if !found {
		network, rest = "tcp", address
	}
	if shared, ok := networks(strings.ToLower(network)); ok {
		return shared + "/" + rest
	}
	return address
}
