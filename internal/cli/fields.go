package cli

import (
	"regexp"
	"slices"
	"strings"

	"github.com/parachute-proxy/parachute/internal/api"
)

// quoted is what a message of the API has between backquotes: a setting, with or without
// a value, or an operation.
var quoted = regexp.MustCompile("`[^`]+`")

// operations are those that messages of the API name, each with the words that lead to
// the command.
var operations = map[string]string{"remove": "run: parachute ", "list": "parachute ", "rollout": "parachute ", "wait": "parachute ", "fleet": "parachute "}

// WithFlags returns a message of the API in the words of the command line: flags of deploy
// for the settings, and commands for the operations that it names.
func WithFlags(text string) string {
	return quoted.ReplaceAllStringFunc(text, func(s string) string {
		inner := strings.Trim(s, "`")
		name, value, hasValue := strings.Cut(inner, "=")
		settings := api.Settings()
		i := slices.IndexFunc(settings, func(s api.Setting) bool { return s.Place() == name || s.Name == "tls" && name == "tls" })
		if i < 0 {
			operation, _, _ := strings.Cut(inner, " ")
			if lead, known := operations[operation]; known {
				return lead + inner
			}
			return s
		}
		flag := "--" + settings[i].Name
		_, isSwitch := settings[i].Default.(bool)
		switch {
		case !hasValue:
			return flag
		case isSwitch || settings[i].Name == "tls": // which do without a value, too
			return flag + "=" + value
		}
		return flag + " " + value
	})
}
