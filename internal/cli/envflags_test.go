package cli

import (
	"testing"

	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/client"
)

// newFlags returns a command with flags as run and deploy have them.
func newFlags() *cobra.Command {
	cmd := &cobra.Command{Use: "run"}
	cmd.Flags().Int("http-port", 80, "")
	cmd.Flags().Int("https-port", 443, "")
	cmd.Flags().Bool("debug", false, "")
	cmd.Flags().String("storage", "", "")
	cmd.Flags().String("admin", "", "")
	cmd.Flags().StringSlice("host", nil, "")
	drain := api.DefaultDrainTimeout
	cmd.Flags().Var(&drain, "drain-timeout", "")
	return cmd
}

func TestOnlyThreeVariablesNeedNoPrefix(t *testing.T) {
	for variable, want := range map[string]string{
		"HTTP_PORT": "8080", "HTTPS_PORT": "8443", "DEBUG": "true",
		"STORAGE": "", "ADMIN": "", "HOST": "[]", "DRAIN_TIMEOUT": "30s",
		"PARACHUTE_STORAGE": "/srv", "PARACHUTE_HOST": "[a.test,b.test]", "PARACHUTE_DEBUG": "true",
	} {
		t.Run(variable, func(t *testing.T) {
			value := map[string]string{
				"HTTP_PORT": "8080", "HTTPS_PORT": "8443", "DEBUG": "1", "STORAGE": "s3://backup", "ADMIN": "root", "HOST": "web-1", "DRAIN_TIMEOUT": "1s",
				"PARACHUTE_STORAGE": "/srv", "PARACHUTE_HOST": "a.test,b.test", "PARACHUTE_DEBUG": "1",
			}[variable]
			for _, v := range []string{"HTTP_PORT", "HTTPS_PORT", "DEBUG"} {
				t.Setenv(v, "")
			}
			t.Setenv(variable, value)
			cmd := newFlags()
			if err := FlagsFromEnv(cmd, "PARACHUTE_", ""); err != nil {
				t.Fatal(err)
			}
			name := map[string]string{
				"HTTP_PORT": "http-port", "HTTPS_PORT": "https-port", "DEBUG": "debug", "STORAGE": "storage", "ADMIN": "admin", "HOST": "host", "DRAIN_TIMEOUT": "drain-timeout",
				"PARACHUTE_STORAGE": "storage", "PARACHUTE_HOST": "host", "PARACHUTE_DEBUG": "debug",
			}[variable]
			f := cmd.Flags().Lookup(name)
			if f.Value.String() != want || f.Changed != (VariableOf(f) == variable) {
				t.Errorf("--%s is %q from %q, want %q", name, f.Value, VariableOf(f), want)
			}
		})
	}
}

func TestErrorsNameTheVariable(t *testing.T) {
	t.Setenv("PARACHUTE_HOST", "a.test,b.test:80")
	t.Setenv("PARACHUTE_STORAGE", "/srv")
	t.Setenv("PARACHUTE_ADMIN", "unix//x.sock")
	t.Setenv("PARACHUTE_DRAIN_TIMEOUT", "-1s")
	t.Setenv("HTTP_PORT", "99999")
	cmd := newFlags()
	if err := cmd.Flags().Parse([]string{"--https-port", "88888"}); err != nil {
		t.Fatal(err)
	}
	if err := FlagsFromEnv(cmd, "PARACHUTE_", ""); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{FailedStart("", "--http-port 99999 is not a port"), "; --http-port has its value from the environment variable HTTP_PORT"},
		{FailedStart("", "--https-port 88888 is not a port"), ""},
		{FailedStart("", "the storage cannot be /srv: it is a file"), "; --storage has its value from the environment variable PARACHUTE_STORAGE"},
		{FailedStart("", "the storage cannot be /srv2: it is a file"), ""},
		{api.Invalid(`host "b.test:80" has a port`), "; --host has its value from the environment variable PARACHUTE_HOST"},
		{api.Invalid("drain timeout -1s is out of bounds"), "; --drain-timeout has its value from the environment variable PARACHUTE_DRAIN_TIMEOUT"},
		{&api.Error{Code: client.CodeUnreachable, Message: "no proxy answers at unix//x.sock"}, "; --admin has its value from the environment variable PARACHUTE_ADMIN"},
		{&api.Error{Code: api.CodeNotHealthy, Message: "a.test is not healthy"}, ""},
	} {
		message := c.err.Error()
		if got := nameVariables(cmd.Flags(), c.err).Error(); got != message+c.want {
			t.Errorf("%q, want %q", got, message+c.want)
		}
	}
}
