package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

// A host without a certificate is served by plain HTTP, which who asked for HTTPS has to
// know.
func TestDeployTellsOfCertificatesThatAreNotThereYet(t *testing.T) {
	now := time.Now()
	there := api.Certificate{Host: "there.test", NotBefore: &now, NotAfter: &now}
	for name, c := range map[string]struct {
		certificates []api.Certificate
		want         string
	}{
		"none":      {nil, ""},
		"all there": {[]api.Certificate{there}, ""},
		"one is not": {
			[]api.Certificate{{Host: "a.test"}, there},
			" - no certificate yet for a.test; until there is one, plain HTTP is served; see: parachute status a.test\n",
		},
		"many are not": {
			[]api.Certificate{{Host: "a.test"}, {Host: "b.test"}, {Host: "c.test"}, {Host: "d.test"}, {Host: "e.test"}},
			"a.test, b.test, c.test and 2 more;",
		},
	} {
		var out, progress bytes.Buffer
		p := &textPrinter{out: &out, progress: &progress, named: (&Env{}).named}
		err := p.Result(api.DeploymentStatus{Service: "a.test", State: api.StateDone, Release: 1, Serving: 1, Certificates: c.certificates})
		if err != nil || out.String() != "a.test v1 is live\n" {
			t.Errorf("%s: %q, %v", name, out.String(), err)
		}
		if got := progress.String(); !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestHintsAreShownWhileADeployWaits once for all targets, in the words of the command line.
func TestHintsAreShownWhileADeployWaits(t *testing.T) {
	var progress bytes.Buffer
	p := &textPrinter{progress: &progress}
	for _, ev := range []api.Event{
		{Target: "a:1", Reason: "404 Not Found"},
		{Target: "a:1", Reason: "404 Not Found", Hint: "set `health_check_path`"},
		{Target: "b:1", Reason: "404 Not Found", Hint: "set `health_check_path`"},
	} {
		ev.Kind = api.EventProbeFailed
		if err := p.Event(ev); err != nil {
			t.Fatal(err)
		}
	}
	const want = ` - a:1 is not ready: 404 Not Found
 - a:1 is still not ready: 404 Not Found
   hint: set --health-check-path
 - b:1 is still not ready: 404 Not Found
`
	if got := progress.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
