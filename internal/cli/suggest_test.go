package cli

import (
	"testing"
)

func TestMisspelledFlagsGetASuggestion(t *testing.T) {
	flags := newDeployCommand(&Env{}).Flags()
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
