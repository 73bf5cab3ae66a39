package cli

import (
	"bytes"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
)

func TestPlansAsText(t *testing.T) {
	for want, plan := range map[string]api.Plan{
		"app v3: nothing would change\n":                                          {Serving: 3},
		"app v3 would change:\n  sticky: false -> true\n":                         {Serving: 3, Changes: []string{"sticky: false -> true"}},
		"app would be a new service:\n  targets: none -> a:1\n":                   {Changes: []string{"targets: none -> a:1"}},
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
