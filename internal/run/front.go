package run

import (
	"slices"
	"strings"

	"github.com/parachute-proxy/parachute/internal/front"
)

// throughFront has the process keep the sockets and the connections of all servers, and of the
// admin endpoint, when it reloads its config. It comes last: what is done with a config before
// compares addresses, and would not know those that it makes.
func (o *options) throughFront(config object) {
	for name, v := range at(config, "apps", "http", "servers") {
		server, ok := v.(object)
		if !ok {
			continue // Caddy will say what is wrong with it
		}
		if list, ok := server["listen"].([]any); ok {
			list = slices.Clone(list)
			for i, item := range list {
				address, ok := item.(string)
				switch {
				case !ok:
				case hasCaddysHTTP3(server, i):
					list[i] = front.Plain(address)
				default:
					list[i] = sharedAddress(address, front.Shared)
				}
			}
			server["listen"] = list
		}
		wrappers, _ := server["listener_wrappers"].([]any)
		server["listener_wrappers"] = append(slices.Clip(wrappers), o.frontWrapper(name))
	}
	admin := at(config, "admin")
	if address, ok := admin["listen"].(string); ok {
		admin["listen"] = sharedAddress(address, front.SharedAdmin)
	}
}

// frontWrapper returns the wrapper of the server of a name. Handlers of the user's own servers
// stay with the server that they were made for.
func (o *options) frontWrapper(server string) object {
	wrapper := object{"wrapper": "parachute_front"}
	if o.edge == "on" && (server == httpServer || server == httpsServer) {
		wrapper["edge"] = true
	}
	return wrapper
}

// hasCaddysHTTP3 reports whether HTTP/3 has to be left to Caddy on an address of a server: packets
// would have to pass wrappers of the user's, or the front does not see the address, since nothing but
// HTTP/3 is served there.
func hasCaddysHTTP3(server object, i int) bool {
	if wrappers, ok := server["packet_conn_wrappers"].([]any); ok && len(wrappers) > 0 {
		return true
	}
	protocols := stringsOf(server["protocols"])
	if lists, ok := server["listen_protocols"].([]any); ok && i < len(lists) && lists[i] != nil {
		protocols = stringsOf(lists[i])
	}
	return len(protocols) == 1 && protocols[0] == "h3"
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
