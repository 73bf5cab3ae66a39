package kamal

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/run"
)

// TestDirectoryThatCannotBeWrittenSaysWhatToDo because kamal-proxy goes on with a temporary one, and
// has forgotten all services after the next restart.
func TestDirectoryThatCannotBeWrittenSaysWhatToDo(t *testing.T) {
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, ".config"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", home)
	if r := command(t, "run"); r.code != 1 || !strings.Contains(r.err, "Error: the directory of the state cannot be written") || !strings.Contains(r.err, "chown -R") {
		t.Errorf("%+v", r)
	}
}

// startedWith returns the flags of `parachute run` that a start has.
func startedWith(t *testing.T, args ...string) (flags []string, c run.Compat) {
	t.Helper()
	p := &program{Env: quietEnv(), start: func(args []string, given run.Compat) error {
		flags, c = args, given
		return nil
	}}
	cmd := p.runCommand()
	cmd.SetArgs(args)
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	return flags, c
}

func TestFlagsAndVariablesOfRunAreThoseOfParachute(t *testing.T) {
	home := t.TempDir()
	for name, value := range map[string]string{
		"HOME": home, "KAMAL_PROXY_HTTP_PORT": "8080", "HTTP_PORT": "1", "HTTPS_PORT": "8443", "METRICS_PORT": "none", "DEBUG": "true",
		"KAMAL_PROXY_SOCKET": "/run/k.sock", "PARACHUTE_ADMIN": "", "PARACHUTE_GRACE_PERIOD": "3s",
	} {
		t.Setenv(name, value)
	}
	flags, c := startedWith(t, "--https-port=9443", "--request-body-timeout=0", "--idle-timeout", "5s")
	slices.Sort(flags)
	want := []string{
		"--access-log=true", "--admin=unix//run/k.sock", "--client-timeout=24h0m0s", "--debug=true", "--http-port=8080", "--https-port=9443",
		"--storage=" + filepath.Join(home, ".config", "kamal-proxy", "parachute"),
	}
	if !slices.Equal(flags, want) {
		t.Errorf("they are %q, and not %q", flags, want)
	}
	if c.IdleTimeout.String() != "5s" || c.ReadHeaderTimeout.String() != "10s" || c.HTTP3 {
		t.Errorf("%+v", c)
	}
	if _, c := startedWith(t, "--http3"); !c.HTTP3 {
		t.Error("--http3 does nothing")
	}
}
