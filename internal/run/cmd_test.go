package run

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/parachute-proxy/parachute/internal/cli"
)

// What is meant for another program leaves every flag at its default.
func TestForeignEnvironmentVariablesChangeNothing(t *testing.T) {
	defaults := make(map[string]string)
	Command(nil).Flags().VisitAll(func(f *pflag.Flag) {
		defaults[f.Name] = f.Value.String()
		if f.Value.Type() != "string" {
			// No number, no duration, no truth value, no list.
			t.Setenv(strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_")), `"tcp://10.0.0.1:80`)
		}
	})
	cmd := Command(nil)
	if err := cli.FlagsFromEnv(cmd, "PARACHUTE_", ""); err != nil {
		t.Fatal(err)
	}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Value.String() != defaults[f.Name] || f.Changed {
			t.Errorf("--%s is %s instead of %s; changed: %t", f.Name, f.Value, defaults[f.Name], f.Changed)
		}
	})
}
