package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/client"
)

// codeGaveUp marks a wait that has taken longer than it may.
const codeGaveUp api.Code = "gave_up"

func newWaitCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "wait DEPLOYMENT|SERVICE",
		Short: "Wait for a running deployment or removal, and end with its exit code",
		Long: `wait continues to watch what another command has started: a deploy with --detach,
or a deploy or removal that was interrupted after the switch. It shows the progress
and ends with the exit code that the other command would have had.

DEPLOYMENT is the identifier that deploy --detach prints. With SERVICE, wait waits for
the newest deployment of that service, for a rollout that goes on without one, until its
old releases have drained, or until it is removed. If nothing is running, it ends at
once, with the result of the last deployment.

Exit codes are those of deploy, and 124 if --timeout is over first.`,
		Example: `  parachute deploy web-2:3000 --host app1.example.com --detach
  parachute wait app1.example.com`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("wait needs the identifier of one deployment or the name of one service, as in: parachute wait app1.example.com")
			}
			return nil
		},
		ValidArgsFunction: env.completeOneService,
	}
	output := AddOutputFlag(cmd)
	quiet := cmd.Flags().BoolP("quiet", "q", false, "print errors only")
	var timeout api.Duration
	cmd.Flags().Var(&timeout, "timeout", "`time` to wait for at most; 0 waits for as long as it takes")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := env.Client(cmd)
		if err != nil {
			return err
		}
		ctx, stop := env.interruptible()
		defer stop()
		if timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeoutCause(ctx, time.Duration(timeout), &api.Error{
				Code: codeGaveUp, Message: fmt.Sprintf("not finished after %s; the deployment or removal goes on", timeout),
			})
			defer cancel()
		}
		w := waiter{client: c, output: *output, env: env}
		if *output == outputText && !*quiet {
			w.printer = newTextPrinter(env)
			defer w.printer.End()
		}
		err = w.wait(ctx, args[0])
		if code := api.ErrorCode(err); code == client.CodeInterrupted || code == client.CodeUnreachable {
			// Whatever was under way when the time was over.
			if cause, ok := errors.AsType[*api.Error](context.Cause(ctx)); ok {
				return cause
			}
		}
		return err
	}
	return cmd
}

// waiter waits for what another command has begun.
type waiter struct {
	client *client.Client
	env    *Env
	output OutputFormat
	// printer shows progress; nil shows none.
	printer *textPrinter
	// steps is what has been shown of a deployment.
	steps steps
}

// deploymentID is the form of the identifiers of deployments.
var deploymentID = regexp.MustCompile(`^[a-z2-7]{12}$`)

// wait waits for a deployment, or for what is under way in a service.
func (w *waiter) wait(ctx context.Context, what string) error {
	if deploymentID.MatchString(what) {
		// A service may have such a name, too.
		if err := w.waitDeployment(ctx, what); api.ErrorCode(err) != api.CodeNotFound {
			return err
		}
	}
	s, err := fetchService(ctx, w.client, what)
	if err != nil {
		return err
	}
	if n := len(s.Deployments); n > 0 {
		return w.waitDeployment(ctx, s.Deployments[n-1].ID)
	}
	if s.Rollout != nil {
		if s, err = w.waitRollout(ctx, s); err != nil {
			return err
		}
	}
	return w.waitDrains(ctx, s)
}

// waitRollout waits for the end of a rollout whose deployment has ended, or was before a
// restart of the proxy. It returns the service as it is then, or why the release is not trusted.
func (w *waiter) waitRollout(ctx context.Context, s api.ServiceStatus) (api.ServiceStatus, error) {
	tried, shown := s.Rollout.Release, ""
	for s.Rollout != nil && s.Rollout.Release == tried {
		r := *s.Rollout
		if r.RemainingSeconds == nil || r.Waiting != "" && *r.RemainingSeconds == 0 {
			return s, undecided(s.Name, r)
		}
		if at := fmt.Sprint(r.Phase, r.Step, r.Waiting); w.printer != nil && at != shown {
			shown = at
			w.printer.now(describeRollout(r))
		}
		if err := pause(ctx); err != nil {
			return s, err
		}
		next, err := fetchService(ctx, w.client, s.Name)
		if err != nil {
			return s, err
		}
		s = next
	}
	if servingOf(s) == tried {
		return s, nil
	}
	h, err := fetchHistory(ctx, w.client, s.Name)
	if err != nil {
		return s, err
	}
	for _, p := range h.Releases {
		if p.Release == tried && p.Outcome != "" {
			return s, &api.Error{Code: api.CodeReverted, Message: fmt.Sprintf("%s v%d was taken back: %s; v%d serves all", s.Name, tried, p.Reason, servingOf(s))}
		}
	}
	return s, nil
}

// undecided is the error of a wait for what waits for somebody to decide.
func undecided(service string, r api.RolloutStatus) error {
	return &api.Error{
		Code:    api.CodeUndecided,
		Message: fmt.Sprintf("%s: %s", service, describeRollout(r)),
		Hint:    fmt.Sprintf("parachute rollout promote %s, or parachute rollout abort %s", service, service),
	}
}

// waitDeployment waits until a deployment has ended.
func (w *waiter) waitDeployment(ctx context.Context, id string) error {
	for {
		var s api.DeploymentStatus
		if err := w.client.Call(ctx, http.MethodGet, api.DeploymentPath(id), nil, &s); err != nil {
			return err
		}
		if w.printer != nil {
			w.steps.show(w.printer, s)
			if s.State == api.StateDraining {
				if service, err := fetchService(ctx, w.client, s.Service); err == nil {
					w.showDrains(service)
				}
			}
		}
		if s.State.Final() {
			return w.deploymentEnded(s)
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// deploymentEnded prints how a deployment has ended, and returns its error.
func (w *waiter) deploymentEnded(s api.DeploymentStatus) error {
	if w.printer != nil {
		w.printer.End()
	}
	if w.output == outputJSON {
		if err := json.NewEncoder(w.env.Out).Encode(s); err != nil {
			return err
		}
	}
	if s.Error != nil {
		return Reported(DescribeFailure(s))
	}
	w.env.WarnOfCut(OutcomeOf(s), s.Cut)
	if w.printer != nil {
		return w.printer.Result(s)
	}
	return nil
}

// waitDrains waits until the old releases of a service without a deployment have drained,
// which ends a removal.
func (w *waiter) waitDrains(ctx context.Context, s api.ServiceStatus) error {
	name, removed := s.Name, s.Active == nil && s.Broken == ""
	for len(s.Draining) > 0 {
		if w.printer != nil {
			w.showDrains(s)
		}
		if err := pause(ctx); err != nil {
			return err
		}
		next, err := fetchService(ctx, w.client, name)
		if removed && api.ErrorCode(err) == api.CodeNotFound {
			break
		}
		if err != nil {
			return err
		}
		s = next
	}
	if w.printer != nil {
		w.printer.End()
	}
	switch {
	case s.FailedDeployment != nil:
		return w.deploymentEnded(*s.FailedDeployment)
	case w.output == outputJSON:
		return printJSON(w.env.Out, s)
	case w.printer == nil:
		return nil
	case removed:
		fmt.Fprintf(w.env.Out, "%s is removed\n", name)
		return nil
	case s.Active == nil:
		return &api.Error{Code: api.CodeNotFound, Message: fmt.Sprintf("%s serves nothing: its state could not be loaded", name), Hint: "see: parachute status " + name}
	}
	_, err := fmt.Fprintf(w.env.Out, "%s v%d is live; nothing is under way\n", name, s.Active.Release)
	return err
}

func (w *waiter) showDrains(s api.ServiceStatus) {
	for _, r := range s.Draining {
		w.printer.drainGoesOn(r.Release, r.Requests, r.Streams)
	}
}

// pause waits until it is time to look again.
func pause(ctx context.Context) error {
	select {
	case <-time.After(pollInterval):
		return nil
	case <-ctx.Done():
		return &api.Error{Code: client.CodeInterrupted, Message: "interrupted; what this command waited for goes on"}
	}
}

// steps are the steps of a deployment that have been shown.
type steps struct {
	begun, switched bool
	drained         int
}

// show shows the steps that a deployment has taken since the last time, as the events of
// them would have.
func (shown *steps) show(p *textPrinter, s api.DeploymentStatus) {
	if !shown.begun {
		shown.begun = true
		p.targets = s.Targets
		if s.Release == 0 && !s.State.Final() {
			p.now(fmt.Sprintf("%s: %s", s.State, someOf(s.Targets, ", ")))
		}
	}
	if s.Release > 0 && !shown.switched {
		shown.switched = true
		_ = p.Event(api.Event{Kind: api.EventSwitched, Release: s.Release, Previous: s.Previous, SwitchTime: s.SwitchTime, Changes: s.Changes, Warnings: s.Warnings, TakenOver: s.TakenOver})
	}
	for ; shown.drained < len(s.Drained); shown.drained++ {
		p.drained(s.Drained[shown.drained])
	}
}
