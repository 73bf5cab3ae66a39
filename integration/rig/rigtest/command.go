package rigtest

import (
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig"
)

// Run runs a command and returns how it ended.
func Run(t testing.TB, p *rig.Proxy, args ...string) rig.Result {
	t.Helper()
	r, err := p.Run(args...)
	Must(t, err)
	return r
}

// WantRun runs a command that has to end with a code.
func WantRun(t testing.TB, p *rig.Proxy, code int, args ...string) rig.Result {
	t.Helper()
	r := Run(t, p, args...)
	if r.Code != code {
		t.Fatalf("parachute %s: exit %d, want %d\n%s%s", strings.Join(args, " "), r.Code, code, r.Stdout, r.Stderr)
	}
	return r
}
