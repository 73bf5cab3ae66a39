package integration

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
)

func TestRollbackUnderLoadLosesNothing(t *testing.T) {
	p := startProxy(t)
	first, next := startExample(t, "first"), startExample(t, "next")
	for _, args := range [][]string{{first.Addr, "--label", "1.0", "--by", "ada"}, {next.Addr, "--label", "1.1", "--commit", "abc"}} {
		if r := run(t, p, append([]string{"deploy"}, args...)...); r.Code != 0 {
			t.Fatalf("%d %s", r.Code, r.Stderr)
		}
	}
	load := rig.StartLoad(p.Addr(), 8, time.Millisecond)
	waitFor(t, "requests", func() bool { n, _ := load.Requests(); return n > 100 })
	r := run(t, p, "rollback", "--by", "bob") // there is one service
	before, _ := load.Requests()
	waitFor(t, "more requests", func() bool { n, _ := load.Requests(); return n > before+100 })
	load.Stop()
	if r.Code != 0 || r.Stdout != "default v3 is live\n" || !strings.Contains(r.Stderr, "switched v2 -> v3") {
		t.Errorf("%d %q %s", r.Code, r.Stdout, r.Stderr)
	}
	if n, failed := load.Requests(); failed > 0 {
		t.Errorf("%d of %d requests failed: %v", failed, n, load.Errors())
	}
	r = run(t, p, "history", "default")
	for _, want := range []string{
		`(?m)^RELEASE +DEPLOYED +SERVED FOR +REQUESTS +TARGETS +BY +LABEL$`,
		`(?m)^v3 \(v1 again\) .*, serves +[1-9]\d* +` + first.Addr + ` +bob +1\.0$`,
		`(?m)^v2 .* [1-9]\d* +` + next.Addr + ` +\S* +1\.1 abc$`,
		`(?m)^v1 .* ` + first.Addr + ` +ada +1\.0$`,
	} {
		if !regexp.MustCompile(want).MatchString(r.Stdout) {
			t.Errorf("the history lacks %s:\n%s", want, r.Stdout)
		}
	}
	if r := run(t, p, "status", "default"); !strings.Contains(r.Stdout, "v1 again, by a rollback") || !strings.Contains(r.Stdout, "label 1.0") {
		t.Errorf("the status does not tell of the rollback:\n%s", r.Stdout)
	}
	next.Stop()
	r = run(t, p, "rollback", "default", "--to", "v2")
	if r.Code != 3 || !strings.Contains(r.Stderr, "start them again") || !strings.Contains(r.Stderr, "default v3 still serves all traffic") {
		t.Errorf("%d %s", r.Code, r.Stderr)
	}
	if r := run(t, p, "rollback", "default", "--to", "v9"); r.Code != 5 || !strings.Contains(r.Stderr, "remembered are v1, v2") {
		t.Errorf("%d %s", r.Code, r.Stderr)
	}
	if r := run(t, p, "rollback", "default", "--to", "last"); r.Code != 2 || !strings.Contains(r.Stderr, "as in v12") {
		t.Errorf("%d %s", r.Code, r.Stderr)
	}
}
