package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig"
)

func TestOneBinaryHasTwoNames(t *testing.T) {
	p := newProxy(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"version"}, "Caddy v2."},
		{[]string{"--help"}, "caddy       Run the Caddy in this program"},
		{[]string{"help", "run"}, "parachute run [flags]"},
		{[]string{"deploy", "--help"}, "parachute deploy TARGET... [flags]"},
		{[]string{"caddy", "help"}, "caddyserver.com/docs"},
		{[]string{"caddy", "parachute", "deploy", "--help"}, "caddy parachute deploy TARGET... [flags]"},
		{[]string{"caddy", "list-modules"}, "http.handlers.parachute"},
		{[]string{"__complete", "caddy", "list-m"}, "list-modules\t"},
	} {
		if r := run(t, p, c.args...); r.Code != 0 || !strings.Contains(r.Stdout, c.want) {
			t.Errorf("%v: %d %s%s", c.args, r.Code, tail(r.Stdout, 1000), r.Stderr)
		}
	}
	if r := run(t, p, "--no-color", "caddy", "version"); r.Code != 2 || !strings.Contains(r.Stderr, "write the flags behind them") {
		t.Errorf("a flag before caddy: %d %s", r.Code, r.Stderr)
	}
}

// The name of the file decides which of the two a program is, and only caddy is Caddy.
func TestOnlyCaddyIsCaddy(t *testing.T) {
	p := newProxy(t)
	for name, caddy := range map[string]bool{
		"parachute": false, "parachute-v1.2.3": false, "proxy": false,
		"caddy": true, "caddy-v2.11.9": true, "caddy_linux_amd64": true,
	} {
		r := runAs(t, p, name, "deploy", "web-1")
		if isParachute := r.Code == 2 && strings.Contains(r.Stderr, "has no port"); isParachute == caddy {
			t.Errorf("%s deploy: %d %s", name, r.Code, r.Stderr)
		}
		r = runAs(t, p, name, "parachute", "deploy", "web-1")
		if hasParachute := r.Code == 2 && strings.Contains(r.Stderr, "has no port") && !strings.Contains(r.Stderr, `"level"`); hasParachute != caddy {
			t.Errorf("%s parachute deploy: %d %s", name, r.Code, r.Stderr)
		}
	}
}

// Who copies a line of a help or of a hint gets what it says.
func TestCaddyNamesCommandsAsTheyAreCalledThere(t *testing.T) {
	p := newProxy(t)
	for _, args := range [][]string{{"parachute", "--help"}, {"parachute", "run", "--help"}, {"parachute", "deploy", "--help"}, {"parachute", "deploy"}, {"parachute", "list", "--admin", "unix//nowhere"}} {
		r := runAs(t, p, "caddy", args...)
		text := r.Stdout + r.Stderr
		for _, line := range strings.Split(text, "\n") {
			rest := strings.ReplaceAll(line, "caddy parachute ", "")
			if strings.Contains(rest, "parachute run ") || strings.HasSuffix(rest, "parachute run") || strings.Contains(rest, "parachute deploy") || strings.Contains(rest, "parachute caddy") || strings.Contains(rest, "completion") {
				t.Errorf("%v: there is no such command: %s", args, line)
			}
		}
		if !strings.Contains(text, "caddy parachute ") {
			t.Errorf("%v: %s", args, text)
		}
	}
}

// `caddy start` runs its own file again.
func TestCaddyCanBeStartedInTheBackground(t *testing.T) {
	p := newProxy(t)
	config := filepath.Join(p.Dir, "caddy.json")
	must(t, os.WriteFile(config, []byte(`{"admin":{"listen":"`+p.Admin()+`"}}`), 0o600))
	// Its log would keep a pipe open for as long as it runs.
	cmd, err := p.Command("caddy", "start", "--config", config)
	must(t, err)
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if r := run(t, p, "caddy", "stop", "--address", p.Admin()); r.Code != 0 {
		t.Errorf("it does not stop: %d %s", r.Code, r.Stderr)
	}
}

// runAs runs the binary under another name.
func runAs(t *testing.T, p *rig.Proxy, name string, args ...string) rig.Result {
	t.Helper()
	cmd, err := p.Command()
	must(t, err)
	as := exec.Command(cmd.Path, args...)
	as.Args[0], as.Env = name, cmd.Env
	r, err := rig.ResultOf(as)
	must(t, err)
	return r
}
