package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/integration/rig"
	"github.com/parachute-proxy/parachute/internal/api"
)

// What the hint of a conflict says must not cost a request, an upload or a stream.
func TestTakeOverRenamesAServiceUnderLoad(t *testing.T) {
	p := startProxy(t)
	first, next := startExample(t, "first"), startExample(t, "next")
	deploy(t, p, api.DeployRequest{Targets: []string{first.Addr}, Service: "old"})
	r := run(t, p, "deploy", next.Addr, "--service", "new")
	if r.Code != 4 || !strings.Contains(r.Stderr, "to move the route here, add --take-over") {
		t.Fatalf("%d %s", r.Code, r.Stderr)
	}
	load := rig.StartLoad(p.Addr(), 8, time.Millisecond)
	waitFor(t, "requests", func() bool { n, _ := load.Requests(); return n > 100 })
	r = run(t, p, "deploy", next.Addr, "--service", "new", "--take-over", "--stream-timeout", "500ms")
	before, _ := load.Requests()
	waitFor(t, "more requests", func() bool { n, _ := load.Requests(); return n > before+100 })
	load.Stop()
	for _, want := range []string{"took over */ from old, which has no route left and is gone", "drained " + first.Addr} {
		if r.Code != 0 || r.Stdout != "new v1 is live\n" || !strings.Contains(r.Stderr, want) {
			t.Errorf("%d %q, want %q in\n%s", r.Code, r.Stdout, want, r.Stderr)
		}
	}
	if n, failed := load.Requests(); failed > 0 {
		t.Errorf("%d of %d requests failed: %v", failed, n, load.Errors())
	}
	if s := services(t, p); len(s) != 1 || s[0].Name != "new" {
		t.Errorf("services %+v", s)
	}
}
