package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"

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
nothing left to do, and returns. From the first moment on, new requests go to
whatever other service claims their host and path, or get 404.

Exit codes: 0 done; 2 invalid input; 5 no such service; 6 no proxy answers; 7
removed, but something had to be cut; 130 interrupted: the removal goes on.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("remove needs the name of one service, as in: parachute remove app1.example.com")
			}
			return nil
		},
		ValidArgsFunction: env.completeOneService,
	}
	output := AddOutputFlag(cmd)
	quiet := cmd.Flags().BoolP("quiet", "q", false, "print errors only")
	drain, streams := api.DefaultDrainTimeout, api.DefaultStreamTimeout
	cmd.Flags().Var(&drain, "drain-timeout", "`time` that requests have to finish")
	cmd.Flags().Var(&streams, "stream-timeout", "`time` after which WebSockets and event streams are closed")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := env.Client(cmd)
		if err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		query := url.Values{"drain_timeout": {drain.String()}, "stream_timeout": {streams.String()}}
		var removal api.Removal
		err = onService(args[0], func(name string) error {
			return c.CallUntilDone(ctx, http.MethodDelete, api.ServicePath(name)+"?"+query.Encode(), nil, &removal)
		})
		if err != nil {
			if api.ErrorCode(err) == client.CodeInterrupted {
				return &api.Error{Code: client.CodeInterrupted, Message: "interrupted; the removal goes on", Hint: "see: parachute list"}
			}
			return err
		}
		switch {
		case *output == outputJSON:
			return printJSON(env.Out, removal)
		case *quiet:
			return nil
		}
		if d := removal.Drained; d != nil {
			fmt.Fprintf(env.Err, " %s drained v%d: %s, %s (%s)\n", env.Err.green("✔"), d.Release,
				api.Count(d.Requests, "request"), api.Count(d.Streams, "stream"), seconds(d.Elapsed))
		}
		_, err = fmt.Fprintf(env.Out, "%s is removed\n", removal.Service)
		return err
	}
	return cmd
}
