package argv0

import (
	"strings"
	"testing"
)

func TestProgramIsAnotherOneOnlyWhenItIsCalledThat(t *testing.T) {
	for line, want := range map[string]string{
		"parachute run":                     "parachute: run",
		"/usr/local/bin/parachute":          "parachute: ",
		"parachute.exe list":                "parachute: list",
		"parachute-v1.2.3 run":              "parachute: run",
		"proxy deploy web-1:3000":           "parachute: deploy web-1:3000",
		"/opt/caddy/bin/p run":              "parachute: run",
		"caddyshack run":                    "parachute: run",
		"":                                  "parachute: ",
		"/usr/local/bin/kamal-proxy run":    "kamal-proxy: run",
		"kamal-proxy.exe list":              "kamal-proxy: list",
		"kamal-proxy caddy run":             "kamal-proxy: caddy run",
		"kamal-proxy-2 list":                "parachute: list",
		"parachute kamal-proxy":             "parachute: kamal-proxy",
		"caddy run":                         "caddy: run",
		"/usr/bin/caddy":                    "caddy: ",
		"caddy.exe version":                 "caddy: version",
		"caddy-v2.11.9 run":                 "caddy: run",
		"./caddy_linux_amd64 run":           "caddy: run",
		"caddy parachute deploy":            "caddy: parachute deploy",
		"parachute caddy run --config x":    "caddy: run --config x",
		"proxy caddy":                       "caddy: ",
		"parachute deploy caddy":            "parachute: deploy caddy",
		"parachute __complete caddy ru":     "caddy: __complete ru",
		"parachute __complete de":           "parachute: __complete de",
		"parachute run --pingback 1.2.3:45": "caddy: run --pingback 1.2.3:45",
	} {
		program, args := Parse(strings.Fields(line))
		if got := string(program) + ": " + strings.Join(args, " "); got != want {
			t.Errorf("%q calls %q, want %q", line, got, want)
		}
	}
}

func TestParseLeavesTheCommandLineAsItIs(t *testing.T) {
	args := strings.Fields("parachute __complete caddy run")
	Parse(args)
	if got := strings.Join(args, " "); got != "parachute __complete caddy run" {
		t.Errorf("it is %q", got)
	}
}
