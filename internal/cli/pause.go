package cli

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
)

func newPauseCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pause SERVICE",
		Short: "Have the requests of a service wait until it is resumed",
		Long: `pause lets no new request reach the instances of a service, waits until those that are
in flight have ended, and returns: now is the time to migrate a database. Requests that
come meanwhile wait, and are served once parachute resume is called, by the release that
serves then. A pause outlives deploys and restarts of the proxy.

Over --queue, requests get 503 with Retry-After; after --max-wait, they get 504. The
health check path is answered with 200, so that load balancers in front go on to send
requests. Streams such as WebSockets go on.

A service that is paused already gets the new limits; who waits goes on to wait.

Exit codes: 0 the service is paused; 2 invalid input; 5 no such service; 6 no proxy
answers.`,
		Example: `  parachute pause app1.example.com
  parachute pause app1.example.com --max-wait 2m --allow 10.0.0.0/8`,
		Args:              oneService("pause"),
		ValidArgsFunction: env.completeOneService,
	}
	h := newHolder(env, cmd, api.PausePath)
	maxWait, queue := api.DefaultMaxWait, api.DefaultQueue
	cmd.Flags().Var(&maxWait, "max-wait", "`time` that a request waits")
	cmd.Flags().IntVar(&queue, "queue", queue, "`number` of requests that wait at a time")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		h.req.MaxWait, h.req.Queue = &maxWait, &queue
		return h.hold(cmd, args[0], api.Paused)
	}
	return cmd
}

func newStopCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stop SERVICE",
		Short: "Answer the requests of a service with a message until it is resumed",
		Long: `stop lets no new request reach the instances of a service and answers each with 503
and a message, which is what maintenance needs. It waits until the requests that are in
flight have ended. It outlives deploys and restarts of the proxy; parachute resume ends
it.

The health check path is answered with 200, so that load balancers in front go on to
send requests. Streams such as WebSockets go on.

Exit codes: 0 the service is stopped; 2 invalid input; 5 no such service; 6 no proxy
answers.`,
		Example: `  parachute stop app1.example.com --message 'We are back at noon.'
  parachute stop app1.example.com --allow 203.0.113.7`,
		Args:              oneService("stop"),
		ValidArgsFunction: env.completeOneService,
	}
	h := newHolder(env, cmd, api.StopPath)
	cmd.Flags().StringVar(&h.req.Message, "message", "", "`text` that clients are answered with (default: that the service is stopped)")
	cmd.Flags().IntVar(&h.req.Status, "status", api.DefaultStopStatus, "`status` that clients are answered with")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return h.hold(cmd, args[0], api.Stopped) }
	return cmd
}

func newResumeCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resume SERVICE",
		Short: "Serve the requests of a service again that is paused or stopped",
		Long: `resume ends what parachute pause or parachute stop has begun. Requests that wait are
served, spread over a moment: a millisecond for each. For a service that serves, it does
nothing.`,
		Args:              oneService("resume"),
		ValidArgsFunction: env.completeOneService,
	}
	output := AddOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		h := holder{env: env, output: output, path: api.ResumePath}
		return h.call(cmd, args[0], nil, func(r api.HoldResult) string { return r.Service + " serves" })
	}
	return cmd
}

// printLink prints a link that leads past the hold.
func (h *holder) printLink(cmd *cobra.Command, service string) error {
	link, err := fetchPreview(h.env, cmd, service)
	if err != nil {
		return err
	}
	return h.env.printLink(link)
}

// holder is what the commands that pause and stop have in common.
type holder struct {
	env    *Env
	output *OutputFormat
	path   func(service string) string
	req    api.HoldRequest
	drain  api.Duration
	// link says that a link is printed as well.
	link bool
}

func newHolder(env *Env, cmd *cobra.Command, path func(string) string) *holder {
	h := &holder{env: env, path: path, output: AddOutputFlag(cmd)}
	flags := cmd.Flags()
	flags.StringSliceVar(&h.req.Allow, "allow", nil, "`addresses` or ranges of them whose requests are served all the same, such as 10.0.0.0/8")
	flags.Var(&h.drain, "drain-timeout", "`time` to wait for requests in flight, which are not cut (default: what the service was deployed with)")
	flags.Lookup("drain-timeout").DefValue = ""
	flags.BoolVar(&h.link, "link", false, "also print a link that is served all the same, for whoever has it; it is good for a day")
	return h
}

// hold pauses or stops the service, and tells what is still in flight.
func (h *holder) hold(cmd *cobra.Command, service string, mode api.HoldMode) error {
	if cmd.Flags().Changed("drain-timeout") {
		h.req.DrainTimeout = &h.drain
	}
	if _, err := h.req.Resolve(mode); err != nil {
		return err
	}
	err := h.call(cmd, service, h.req, func(r api.HoldResult) string {
		if r.Requests > 0 {
			h.env.note(fmt.Sprintf("warning: %s of before still in flight; raise --drain-timeout to wait for longer", verb(api.Count(r.Requests, "request"), r.Requests)))
		}
		if r.Streams > 0 {
			h.env.note(fmt.Sprintf(" - %s open", verb(api.Count(r.Streams, "stream"), r.Streams)))
		}
		return r.Service + " is " + string(mode)
	})
	if err == nil && h.link {
		err = h.printLink(cmd, service)
	}
	return err
}

// verb returns a count with the verb that fits it.
func verb(count string, n int) string {
	if n == 1 {
		return count + " is"
	}
	return count + " are"
}

// call makes the call and prints what has come of it.
func (h *holder) call(cmd *cobra.Command, service string, body any, describe func(api.HoldResult) string) error {
	var result api.HoldResult
	err := h.env.callUntilDone(cmd, service, http.MethodPost, h.path, body, &result)
	switch {
	case err != nil:
		return err
	case *h.output == outputJSON:
		return printJSON(h.env.Out, result)
	}
	_, err = fmt.Fprintln(h.env.Out, describe(result))
	return err
}
