package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

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
}
