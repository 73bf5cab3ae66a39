// Command plugins is the proxy with a plugin of Caddy's, as xcaddy builds it:
//
//	xcaddy build --with github.com/parachute-proxy/parachute --with github.com/mholt/caddy-ratelimit
//
// It is a module of its own, so that the plugin's go.mod stays free of the other's.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"
	_ "github.com/mholt/caddy-ratelimit"
	_ "github.com/parachute-proxy/parachute"
)

func main() { caddycmd.Main() }
