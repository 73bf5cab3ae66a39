package extendedconnect

import (
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/argv0"
)

func TestOnlyRunAcceptsWebSocketsOverHTTP2(t *testing.T) {
	for args, want := range map[string]bool{
		"/usr/bin/parachute run --http-port 80":  true,
		"parachute --no-color run":               true,
		"parachute.exe run":                      true,
		"caddy parachute run":                    true,
		"caddy run --config Caddyfile":           false,
		"parachute deploy web-1:3000":            false,
		"parachute":                              false,
		"caddy":                                  false,
		"":                                       false,
		"/opt/parachute/caddy run":               false,
		"proxy run":                              true,
		"parachute caddy reverse-proxy --to run": false,
		"parachute caddy parachute run":          true,
	} {
		if got := isRun(argv0.Parse(strings.Fields(args))); got != want {
			t.Errorf("%q: %v", args, got)
		}
	}
}
