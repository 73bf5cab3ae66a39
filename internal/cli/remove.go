package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/client"
)

func newRemoveCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "remove SERVICE",
		Aliases: []string{"rm"},
		Short:   "Drain a service and remove it",
		Long: `remove takes the routes of a service away, waits until its instances have
nothing left to do, and returns. New requests at once go to another service that
has a route for their host and path, or get 404.

Exit codes: 0 removed; 2 invalid input; 5 no such service; 6 no proxy answers; 7
with --fail-on-cut: removed, but something had to be cut; 130 interrupted: the
removal goes on, and parachute wait SERVICE waits for it.`,
		Args:              oneService("remove"),
		ValidArgsFunction: env.completeOneService,
	}
	output := AddOutputFlag(cmd)
	quiet := cmd.Flags().BoolP("quiet", "q", false, "print errors only")
	var drain, streams api.Duration
	for name, to := range map[string]*api.Duration{"drain-timeout": &drain, "stream-timeout": &streams} {
		text := "`time` that requests have to finish"
		if to == &streams {
			text = "`time` after which WebSockets and event streams are closed"
		}
		cmd.Flags().Var(to, name, text+" (default: what the service was deployed with)")
		cmd.Flags().Lookup(name).DefValue = ""
	}
	failOnCut := cmd.Flags().Bool("fail-on-cut", false, "exit with 7 if requests or streams had to be cut")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		req := api.RemoveRequest{FailOnCut: *failOnCut}
		if cmd.Flags().Changed("drain-timeout") {
			req.DrainTimeout = &drain
		}
		if cmd.Flags().Changed("stream-timeout") {
			req.StreamTimeout = &streams
		}
		if err := req.Validate(); err != nil {
			return err
		}
		c, err := env.Client(cmd)
		if err != nil {
			return err
		}
		ctx, stop := env.interruptible()
		defer stop()
		printer := newTextPrinter(env)
		printer.drainSince = time.Now()
		show := func(s api.ServiceStatus) {
			if *output == outputJSON || *quiet {
				return
			}
			for _, r := range s.Draining {
				limits := req.Limits(r.Options)
				printer.limits = &limits
				printer.drainGoesOn(r.Release, r.Requests, r.Streams)
			}
		}
		removal, err := remove(ctx, c, args[0], removeQuery(req), show)
		if text := *output != outputJSON && !*quiet; err == nil && text && removal.Drained != nil {
			printer.drained(*removal.Drained)
		}
		printer.End()
		if err == nil {
			env.WarnOfCut(removal.Service+" is removed", removal.Cut)
		}
		switch {
		case err != nil:
			return err
		case *output == outputJSON:
			return printJSON(env.Out, removal)
		case *quiet:
			return nil
		}
		_, err = fmt.Fprintf(env.Out, "%s is removed\n", removal.Service)
		return err
	}
	return cmd
}

// pollInterval is the pause between two looks at something that the proxy does.
const pollInterval = 500 * time.Millisecond

// removeQuery returns the query of the call that removes a service.
func removeQuery(req api.RemoveRequest) url.Values {
	query := url.Values{}
	if req.DrainTimeout != nil {
		query.Set("drain_timeout", req.DrainTimeout.String())
	}
	if req.StreamTimeout != nil {
		query.Set("stream_timeout", req.StreamTimeout.String())
	}
	if req.FailOnCut {
		query.Set("fail_on_cut", "true")
	}
	return query
}

// remove removes a service, and shows it as it drains. The proxy answers when that is over,
// which can take a day: that it is still there is seen by the looks at the service.
func remove(ctx context.Context, c *client.Client, written string, query url.Values, show func(api.ServiceStatus)) (result api.Removal, err error) {
	err = onService(written, func(name string) error {
		calling, cancel := context.WithCancel(ctx)
		defer cancel()
		var removal api.Removal
		ended := make(chan error, 1)
		go func() {
			ended <- c.CallUntilDone(calling, http.MethodDelete, api.ServicePath(name)+"?"+query.Encode(), nil, &removal)
		}()
		for {
			select {
			case err := <-ended:
				result = removal
				if api.ErrorCode(err) == client.CodeInterrupted {
					return &api.Error{Code: client.CodeInterrupted, Message: "interrupted; the removal goes on", Hint: "wait for it with: parachute wait " + name}
				}
				return err
			case <-time.After(pollInterval):
			}
			s, err := fetchService(calling, c, name)
			switch api.ErrorCode(err) {
			case "":
				show(s)
			case client.CodeUnreachable:
				return err
			}
		}
	})
	return result, err
}
