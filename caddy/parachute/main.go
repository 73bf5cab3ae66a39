// Command parachute is the same program that xcaddy generates for parachute:
// Caddy's command line, its standard modules, and this plugin. It exists for
// `go build`, `go run`, tests and profiling; releases are built by `make`.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/parachute-proxy/parachute"
)

func main() {
	caddycmd.Main()
}
