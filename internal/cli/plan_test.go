package cli

import (
	"bytes"
	"testing"
	"time"

	"github.com/parachute-proxy/parachute/internal/api"
)

func TestPlansAsText(t *testing.T) {
	for want, plan := range map[string]api.Plan{
		"app v3: nothing would change\n": {Serving: 3},
		"app v3 would change:\n  basic-auth-file: bob -> none\n  warning: app has no --basic-auth-file any more\n": {
			Serving: 3, Changes: []string{"basic-auth-file: bob -> none"}, Warnings: []string{"app has no `basic_auth` any more"},
		},
		"app v3 would change:\n  sticky: false -> true\n":                  {Serving: 3, Changes: []string{"sticky: false -> true"}},
		"app would be a new service:\n  targets: none -> a:1\n":            {Changes: []string{"targets: none -> a:1"}},
		"app v4: nothing would change; it is being brought into service\n": {Serving: 4, UnderWay: 4},
		"app v3 would change:\n  targets: a:1 -> b:1\n  rollout: 10% of the clients until somebody decides\n  replace v4, which is being brought into service\n": {
			Serving: 3, UnderWay: 4, Changes: []string{"targets: a:1 -> b:1"}, Rollout: &api.Rollout{Steps: []api.Step{{Weight: 1000}}},
		},
		"app v3 would change:\n  targets: a:1 -> b:1\n  rollout: 5% of the clients for 2m0s, then 100% of the clients, then watched for 1m0s; the release before stays ready to serve again\n": {
			Serving: 3, Changes: []string{"targets: a:1 -> b:1"},
			Rollout: &api.Rollout{Steps: []api.Step{{Weight: 500, For: api.Duration(2 * time.Minute)}, {Weight: api.Whole}}, Watch: api.Duration(time.Minute), Keep: true},
		},
		"app serves nothing now; it would serve, with the settings that it has\n": {},
	} {
		plan.Service = "app"
		var out bytes.Buffer
		(&Env{Out: &Stream{Writer: &out}}).printPlan(plan)
		if out.String() != want {
			t.Errorf("%+v is printed as %q, want %q", plan, &out, want)
		}
	}
}
