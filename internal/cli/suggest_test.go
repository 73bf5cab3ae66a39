package cli

import (
	"testing"

	"github.com/spf13/cobra"
)

func TestMisspelledFlagsGetASuggestion(t *testing.T) {
	cmd := new(cobra.Command)
	AddDeploy(&Env{}, cmd)
	flags := cmd.Flags()
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
		if got := SimilarFlag(flags, name); got != want {
			t.Errorf("--%s: %q, want %q", name, got, want)
		}
	}
}
