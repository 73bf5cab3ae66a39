package cli

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
)

func newRolloutCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rollout",
		Short: "Show, promote or abort a release that is tried on some clients, or watched",
		Long: `rollout is for a release that is not trusted yet: a canary (deploy --canary, --steps or
--slow-start), which a share of the clients gets, or one that is watched (deploy
--watch), which serves all while the old release is ready to serve again.

A rollout goes on by itself. These commands are for whoever wants to decide.`,
		Example: `  parachute deploy web-2:3000 --host app1.example.com --canary 10%
  parachute rollout status app1.example.com
  parachute rollout promote app1.example.com`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRolloutStatusCommand(env), newPromoteCommand(env),
		newRolloutAction(env, "abort", "Go back to the old release",
			`abort gives all clients the old release again. It returns when the instances of the new
one may be removed.`, api.ActionAbort),
		newRolloutAction(env, "pause", "Stop the clock of a rollout",
			`pause stops the clock of a rollout, and nothing is judged meanwhile. Who gets which
release stays as it is.`, api.ActionPause),
		newRolloutAction(env, "resume", "Have the clock of a rollout go on",
			`resume has the clock of a rollout go on that was paused, or that could not be judged.
That one gets the time of its step once more.`, api.ActionResume),
		newSetCommand(env), newPreviewCommand(env))
	return cmd
}

// rolloutCommand is what the commands that change a rollout have in common.
type rolloutCommand struct {
	env    *Env
	output *OutputFormat
	req    api.RolloutRequest
}

// newRolloutAction returns a command that does one thing with a rollout.
func newRolloutAction(env *Env, name, short, long string, action api.RolloutAction) *cobra.Command {
	cmd, c := bareRolloutAction(env, name, short, long, action)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return c.call(cmd, args[0]) }
	return cmd
}

func bareRolloutAction(env *Env, name, short, long string, action api.RolloutAction) (*cobra.Command, *rolloutCommand) {
	cmd := &cobra.Command{
		Use:   name + " SERVICE",
		Short: short,
		Long: long + `

Exit codes: 0 done; 2 invalid input; 5 no such service, or it has no rollout; 6 no proxy
answers.`,
		Example:           "  parachute rollout " + name + " app1.example.com",
		Args:              oneService("rollout " + name),
		ValidArgsFunction: env.completeOneService,
	}
	return cmd, &rolloutCommand{env: env, output: AddOutputFlag(cmd), req: api.RolloutRequest{Action: action}}
}

func newPromoteCommand(env *Env) *cobra.Command {
	cmd, c := bareRolloutAction(env, "promote", "Go on to the next step of a rollout, or trust its release",
		`promote goes on to the next step of a rollout. After the last one, the release serves all
requests and is trusted: the old one drains, and promote returns when its instances may
be removed. It also ends a watch, and lets a release go that deploy --keep has kept.`, api.ActionPromote)
	cmd.Flags().BoolVar(&c.req.Full, "full", false, "leave out all further steps, and the watch")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return c.call(cmd, args[0]) }
	return cmd
}

func newSetCommand(env *Env) *cobra.Command {
	cmd, c := bareRolloutAction(env, "set", "Give a canary another share of the clients",
		`set gives a canary another share of the clients, which it has until somebody decides. Who
has had the new release keeps it if the share grows.

With deploy --canary-by cookie:NAME, --values says for which values of that cookie the
new release is in any case. They take the place of those before.`, api.ActionSet)
	cmd.Example = `  parachute rollout set app1.example.com --weight 25%
  parachute rollout set app1.example.com --weight 0% --values alice,bob`
	cmd.Flags().BoolVar(&c.req.Off, "off", false, "have nobody get the new release, which keeps its share and values for the next set")
	cmd.Flags().StringSliceVar(&c.req.Values, "values", nil, "`values` of the cookie of --canary-by cookie:NAME whose clients get the new release whatever its share is")
	weight := cmd.Flags().String("weight", "", "`share` of the clients, such as 25%")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *weight == "" {
			return api.Invalid("--weight is missing").WithHint("write it as in: --weight 25%%")
		}
		share, err := api.ParsePercent(*weight)
		if err != nil {
			return api.Invalid("--weight: %v", err)
		}
		c.req.Weight = &share
		return c.call(cmd, args[0])
	}
	return cmd
}

// call makes the call and prints what has come of it.
func (r *rolloutCommand) call(cmd *cobra.Command, service string) error {
	if err := r.req.Validate(); err != nil {
		return err
	}
	var result api.RolloutResult
	err := r.env.callUntilDone(cmd, service, http.MethodPut, api.RolloutPath, r.req, &result)
	switch {
	case err != nil:
		return err
	case *r.output == outputJSON:
		return printJSON(r.env.Out, result)
	}
	for _, d := range result.Drained {
		text := fmt.Sprintf(" - drained v%d, %s", d.Release, strings.Join(d.Targets, ", "))
		if cut := api.CutOf(d); cut != nil {
			text += ": " + cut.String()
		}
		r.env.note(text)
	}
	if result.Rollout != nil {
		_, err = fmt.Fprintf(r.env.Out, "%s: %s\n", result.Service, describeRollout(*result.Rollout))
		return err
	}
	if result.Kept > 0 {
		r.env.note(keptNote(r.env.named, result.Service, result.Kept))
	}
	_, err = fmt.Fprintf(r.env.Out, "%s v%d is live\n", result.Service, result.Serving)
	return err
}

// describeRollout says in a line what a rollout is at.
func describeRollout(r api.RolloutStatus) string {
	text := fmt.Sprintf("v%d gets %s of the clients, v%d the others", r.Release, r.Weight, r.Previous)
	if r.Off {
		text = fmt.Sprintf("v%d is off, and v%d gets all clients", r.Release, r.Previous)
	}
	if r.Phase == api.PhaseWatch {
		text = fmt.Sprintf("v%d is watched, and v%d ready to serve again", r.Release, r.Previous)
	}
	if r.Step > 0 && r.Steps > 1 {
		text += fmt.Sprintf("; step %d of %d", r.Step, r.Steps)
	}
	switch {
	case r.Waiting != "":
		text += "; it waits: " + r.Waiting
	case r.RemainingSeconds != nil:
		text += "; " + leftOf(*r.RemainingSeconds) + " left"
	default:
		text += ", until somebody decides"
	}
	return text
}

// leftOf writes a time that is left.
func leftOf(s api.Seconds) string {
	if d := time.Duration(s); d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return time.Duration(s).Round(time.Second).String()
}

// describeEvidence says in a line what a release is judged by.
func describeEvidence(r api.RolloutStatus) string {
	e := r.Evidence
	text := fmt.Sprintf("%s to v%d, %d failed (limit %s", api.Count(int(e.Requests), "request"), r.Release, e.Failures, e.Limit)
	if e.PreviousRequests > 0 {
		text += fmt.Sprintf("; v%d: %d of %d", r.Previous, e.PreviousFailures, e.PreviousRequests)
	}
	text += ")"
	if e.Timed > 0 {
		text += fmt.Sprintf("; %d of %d slower than %s", e.Slow, e.Timed, time.Duration(e.SlowerThan).Round(10*time.Microsecond))
	}
	return text
}

func newRolloutStatusCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status SERVICE",
		Short: "Show how far a rollout is, and what the release is judged by",
		Long: `status shows how far a rollout is, and what the release is judged by: how many requests
it had, how many of them have failed, what the release before had, and the odds against
it. At 100 it is taken back.`,
		Example:           "  parachute rollout status app1.example.com",
		Args:              oneService("rollout status"),
		ValidArgsFunction: env.completeOneService,
	}
	output := AddOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := env.Client(cmd)
		if err != nil {
			return err
		}
		s, err := fetchService(cmd.Context(), c, args[0])
		switch {
		case err != nil:
			return err
		case *output == outputJSON:
			return printJSON(env.Out, api.RolloutResult{Service: s.Name, Serving: servingOf(s), Rollout: s.Rollout})
		case s.Rollout == nil && s.Standby != nil:
			_, err = fmt.Fprintf(env.Out, "%s v%d is live; v%d is ready to serve again\n", s.Name, servingOf(s), s.Standby.Release)
			return err
		case s.Rollout == nil:
			_, err = fmt.Fprintf(env.Out, "%s v%d is live; there is no rollout\n", s.Name, servingOf(s))
			return err
		}
		fmt.Fprintln(env.Out, env.Out.style.bold(s.Name))
		t := tabwriter.NewWriter(env.Out, 0, 8, 2, ' ', 0)
		printRollout(t, *s.Rollout)
		return t.Flush()
	}
	return cmd
}

// printRollout prints the lines of a status that tell of a rollout.
func printRollout(w io.Writer, r api.RolloutStatus) {
	fmt.Fprintf(w, "  rollout\t%s\n", describeRollout(r))
	if r.Phase != api.PhaseSlowStart {
		fmt.Fprintf(w, "  evidence\t%s\n", describeEvidence(r))
		fmt.Fprintf(w, "  \tagainst v%d: %.2g (at 100 it is taken back)\n", r.Release, r.Evidence.Odds)
	}
}

func servingOf(s api.ServiceStatus) int {
	if s.Active == nil {
		return 0
	}
	return s.Active.Release
}

func newPreviewCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "preview SERVICE",
		Short: "Print a link that shows the new release to whoever has it",
		Long: `preview prints a link that shows the new release of a canary to whoever has it, whatever
its share is. It is signed, and good for a day. With deploy --canary 0% nobody else
sees the release. For a service that is paused or stopped, the link leads past that.`,
		Example:           "  parachute rollout preview app1.example.com",
		Args:              oneService("rollout preview"),
		ValidArgsFunction: env.completeOneService,
	}
	output := AddOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		link, err := fetchPreview(env, cmd, args[0])
		switch {
		case err != nil:
			return err
		case *output == outputJSON:
			return printJSON(env.Out, link)
		}
		return env.printLink(link)
	}
	return cmd
}

// printLink prints a link, and what is to be done before it can be used.
func (e *Env) printLink(link api.PreviewLink) error {
	if strings.Contains(link.URL, "://HOST/") {
		e.note(" - the service has no host of its own: put one that leads here in the place of HOST")
	}
	_, err := fmt.Fprintln(e.Out, link.URL)
	return err
}

// keptNote says that a release stays ready to serve again.
func keptNote(named func(string) string, service string, release int) string {
	return fmt.Sprintf(" - v%d is ready to serve again, so its instances must not be removed: %s %s goes back to it, %s %s lets it go",
		release, named("parachute rollback"), service, named("parachute rollout promote"), service)
}

// fetchPreview asks for a link that opens what not everybody gets of a service.
func fetchPreview(env *Env, cmd *cobra.Command, service string) (link api.PreviewLink, err error) {
	c, err := env.Client(cmd)
	if err != nil {
		return link, err
	}
	err = onService(service, func(name string) error {
		return c.Call(cmd.Context(), http.MethodPost, api.PreviewPath(name), nil, &link)
	})
	return link, err
}
