package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/client"
)

// codeWouldChange is not a failure: a dry run ends with it if it has found a difference,
// which it has printed.
const codeWouldChange api.Code = "would_change"

// errWouldChange makes the exit code of such a dry run.
var errWouldChange = &api.Error{Code: codeWouldChange, Message: "something would change"}

// showPlan prints what a deploy of p would change. The error that it returns if that is
// anything makes the exit code.
func (e *Env) showPlan(ctx context.Context, c *client.Client, p api.Patch, output OutputFormat) error {
	plan, err := fetchPlan(ctx, c, p)
	if err != nil {
		return err
	}
	if output == outputJSON {
		if err := json.NewEncoder(e.Out).Encode(plan); err != nil {
			return err
		}
	} else {
		e.printPlan(plan)
	}
	if plan.Changed() {
		return errWouldChange
	}
	return nil
}

func fetchPlan(ctx context.Context, c *client.Client, p api.Patch) (plan api.Plan, err error) {
	err = c.Call(ctx, http.MethodPost, api.PathDeployments+"?dry_run=true", p, &plan)
	return plan, err
}

func (e *Env) printPlan(p api.Plan) {
	switch {
	case !p.Changed() && p.Serving == p.UnderWay:
		fmt.Fprintf(e.Out, "%s v%d: nothing would change; it is being brought into service\n", p.Service, p.Serving)
		return
	case !p.Changed():
		fmt.Fprintf(e.Out, "%s v%d: nothing would change\n", p.Service, p.Serving)
		return
	case p.Serving == 0 && len(p.Changes)+len(p.TakenOver) == 0:
		fmt.Fprintf(e.Out, "%s serves nothing now; it would serve, with the settings that it has\n", p.Service)
		return
	case p.Serving == 0:
		fmt.Fprintf(e.Out, "%s would be a new service:\n", p.Service)
	default:
		fmt.Fprintf(e.Out, "%s v%d would change:\n", p.Service, p.Serving)
	}
	for _, change := range p.Changes {
		fmt.Fprintf(e.Out, "  %s\n", change)
	}
	for _, taken := range p.TakenOver {
		fmt.Fprintf(e.Out, "  take over %s\n", taken)
	}
	for _, warning := range p.Warnings {
		fmt.Fprintf(e.Out, "  warning: %s\n", WithFlags(warning))
	}
	if p.Rollout != nil {
		fmt.Fprintf(e.Out, "  rollout: %s\n", describePlannedRollout(*p.Rollout))
	}
	if p.UnderWay > 0 {
		fmt.Fprintf(e.Out, "  replace v%d, which is being brought into service\n", p.UnderWay)
	}
}

// describePlannedRollout says in a line how a release would be brought into service.
func describePlannedRollout(r api.Rollout) string {
	var parts []string
	for _, s := range r.Steps {
		text := s.Weight.String() + " of the clients"
		switch {
		case s.For > 0:
			text += " for " + s.For.String()
		case s.Weight < api.Whole:
			text += " until somebody decides"
		}
		parts = append(parts, text)
	}
	if r.SlowStart > 0 {
		parts = append(parts, "slowly more clients within "+r.SlowStart.String())
	}
	if r.Watch > 0 {
		parts = append(parts, "watched for "+r.Watch.String())
	}
	text := strings.Join(parts, ", then ")
	if r.Keep {
		text = strings.TrimPrefix(text+"; the release before stays ready to serve again", "; ")
	}
	return text
}
