package cli

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
)

func newUpgradeCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Replace the running proxy by a new process without losing a request",
		Long: `upgrade has the running proxy start its own program again, with the same options and
environment, and hand over to it: the sockets, the services, and what is under way. So
it is how to begin to use a new version of the program, once that is in the place of the
old one, and new contents of the file of --config.

The new process takes over when it could serve. If it cannot, the old one goes on, and
nothing has changed. The old process stays for the clients that it has, up to --linger
(see parachute run); deploys reach it, too, and wait for it.

Exit codes: 0 the new process serves; 1 the old one goes on; 2 invalid input; 6 no proxy
answers.`,
		Example:           "  parachute upgrade",
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	var timeout api.Duration
	cmd.Flags().Var(&timeout, "timeout", "`time` that the new process may take to boot (default 1m)")
	output := AddOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := env.Client(cmd)
		if err != nil {
			return err
		}
		var req api.UpgradeRequest
		if timeout != 0 {
			req.Timeout = &timeout
		}
		ctx, stop := env.interruptible()
		defer stop()
		var result api.Upgrade
		if err := c.CallUntilDone(ctx, http.MethodPost, api.PathUpgrade, req, &result); err != nil {
			return err
		}
		if *output == outputJSON {
			return printJSON(env.Out, result)
		}
		_, err = fmt.Fprintf(env.Out, "%s has taken over from %s after %s\n", result.To, result.From, time.Duration(result.Elapsed).Round(time.Millisecond))
		return err
	}
	return cmd
}
