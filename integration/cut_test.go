package integration

import (
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/integration/rig"
)

// Deploy tools take every exit code but 0 for a release that did not start, and stop it.
func TestWhatWasCutIsAWarningUnlessTheCommandIsToFail(t *testing.T) {
	p := startProxy(t)
	old, arrived, release := slowApp(t, "old")
	defer close(release)
	next := startApp(t, "next", nil)
	inFlight := func() {
		t.Helper()
		deploy(t, p, to(old))
		inBackground(t, p.URL()+"/slow")
		arrive(t, "the slow request", arrived)
	}
	for _, c := range []struct {
		args    []string
		outcome string
	}{
		{[]string{"deploy", next.addr(), "--drain-timeout", "1ms"}, "is live"},
		{[]string{"remove", "default", "--drain-timeout", "1ms"}, "default is removed"},
	} {
		inFlight()
		r := run(t, p, c.args...)
		wantCutWarning(t, r, c.outcome)
		if !strings.Contains(r.Stdout, c.outcome) {
			t.Errorf("%v: standard output is %q", c.args, r.Stdout)
		}
		inFlight()
		r = run(t, p, append(c.args, "--output", "json", "--quiet")...)
		wantCutWarning(t, r, c.outcome)
		if !strings.Contains(r.Stdout, `"cut":{"requests":1,"streams":0}`) && !strings.Contains(r.Stdout, `"requests": 1`) {
			t.Errorf("%v: the JSON does not say what was cut: %s", c.args, r.Stdout)
		}
		inFlight()
		if r = run(t, p, append(c.args, "--fail-on-cut")...); r.Code != 7 || !strings.Contains(r.Stderr, "error: ") || !strings.Contains(r.Stderr, "1 request was cut") {
			t.Errorf("%v --fail-on-cut: %d %s", c.args, r.Code, r.Stderr)
		}
	}
}

func wantCutWarning(t *testing.T, r rig.Result, outcome string) {
	t.Helper()
	if r.Code != 0 || !strings.Contains(r.Stderr, "warning: ") || !strings.Contains(r.Stderr, outcome+", but 1 request was cut") || !strings.Contains(r.Stderr, "--drain-timeout") {
		t.Errorf("exit code %d, want 0 and a warning in\n%s", r.Code, r.Stderr)
	}
}
