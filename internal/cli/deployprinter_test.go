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
