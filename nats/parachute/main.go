// Command parachute is parachute with the fleet on NATS built in: the same program that xcaddy
// generates, for `go build`.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/parachute-proxy/parachute/nats"
)

func main() {
	caddycmd.Main()
}
