package cli

import (
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
)

// A deployment that others have ended does not know what they do next.
func TestFailuresTellWhatServes(t *testing.T) {
	for _, c := range []struct {
		code    api.Code
		serving int
		want    string
	}{
		{api.CodeNotHealthy, 1, "failed; app v1 still serves all traffic"},
		{api.CodeNotHealthy, 0, "failed; app serves nothing yet"},
		{api.CodeSuperseded, 1, "failed; app v1 was serving at that time"},
		{api.CodeSuperseded, 0, "failed"},
		{api.CodeStorage, 1, "failed"},
	} {
		err := DescribeFailure(api.DeploymentStatus{Service: "app", Serving: c.serving, Error: &api.Error{Code: c.code, Message: "failed"}})
		if err.Error() != c.want {
			t.Errorf("%s with v%d: %q, want %q", c.code, c.serving, err, c.want)
		}
	}
}
