package parachute

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// What is meant for another program leaves every flag at its default.
func TestForeignEnvironmentVariablesChangeNothing(t *testing.T) {
	defaults := make(map[string]string)
	newRunCommand().Flags().VisitAll(func(f *pflag.Flag) {
		defaults[f.Name] = f.Value.String()
		if f.Value.Type() != "string" {
			// No number, no duration, no truth value, no list.
			t.Setenv(strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_")), `"tcp://10.0.0.1:80`)
		}
	})
	cmd := newRunCommand()
	if err := flagsFromEnv(cmd, "PARACHUTE_", ""); err != nil {
		t.Fatal(err)
	}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Value.String() != defaults[f.Name] || f.Changed {
			t.Errorf("--%s is %s instead of %s; changed: %t", f.Name, f.Value, defaults[f.Name], f.Changed)
		}
	})
}

func TestMisspelledFlagsGetASuggestion(t *testing.T) {
	flags := newDeployCommand().Flags()
	for name, want := range map[string]string{
		"hsot":              "host",
		"hosts":             "host",
		"HOST":              "host",
		"sevrice":           "service",
		"health_check_path": "health-check-path",
		"healthcheck-path":  "health-check-path",
		"drain":             "drain-timeout",
		"path":              "path-prefix",
		"tsl":               "tls",
		"canonical":         "canonical-host",
		// Several flags begin like this.
		"health":   "",
		"xy":       "",
		"nonsense": "",
		"":         "",
	} {
		if got := similarFlag(flags, name); got != want {
			t.Errorf("--%s: %q, want %q", name, got, want)
		}
	}
}
