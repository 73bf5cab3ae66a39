// Package extendedconnect lets `parachute run` accept WebSockets over HTTP/2
// (RFC 8441). It is imported for that effect.
//
// Go's HTTP/2 server can do it, but offers it only if the environment variable
// GODEBUG says http2xconnect=1 when net/http is initialised
// (https://go.dev/issue/71128): browsers prefer such a WebSocket once it is offered,
// and most handlers do not expect one. Ours does, and so does Caddy's reverse_proxy.
//
// Packages are initialised in the order of their import paths as far as their
// imports allow (Go specification, "Program initialization"), so this one, which
// imports almost nothing, comes before golang.org/x/net/http2 and net/http.
package extendedconnect

import (
	"os"
	"slices"
	"strings"

	"github.com/parachute-proxy/parachute/internal/argv0"
)

const setting = "http2xconnect"

func init() {
	debug := os.Getenv("GODEBUG")
	if isRun(argv0.Called()) && !strings.Contains(debug, setting+"=") {
		_ = os.Setenv("GODEBUG", strings.TrimPrefix(debug+","+setting+"=1", ","))
	}
}

// isRun reports whether the command is `parachute run`, `kamal-proxy run` or `caddy parachute run`:
// in a Caddy that runs a configuration of its user's, the choice is the user's.
func isRun(program argv0.Program, args []string) bool {
	if program == argv0.Caddy {
		if len(args) == 0 || args[0] != "parachute" {
			return false
		}
		args = args[1:]
	}
	// Flags may come before the command.
	return slices.Contains(args, "run")
}
