package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/client"
)

func newRollbackCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rollback [SERVICE]",
		Short: "Go back to a release that has served before",
		Long: `rollback goes back to a release that has served before: to its targets and all of its
settings. By default that is the release before the one that serves. Its instances must
still run. Their health is checked for two seconds, and then the switch is that of a
deploy. The result is a new release with its own number.

A release that deploy --watch or --keep keeps ready serves again at once, with the number
that it had. While a canary runs, rollback gives all clients the release before it.

SERVICE can be left out if there is only one. parachute history lists the releases.

Exit codes are those of deploy, and 5 if the release is not remembered.`,
		Example: `  parachute rollback app1.example.com
  parachute rollback app1.example.com --to v12`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("rollback takes one service at a time")
			}
			return nil
		},
		ValidArgsFunction: env.completeOneService,
	}
	var req api.RollbackRequest
	flags := cmd.Flags()
	to := flags.String("to", "", "`release` to go back to, as in v12 (default: the one before)")
	flags.StringVar(&req.Note.Label, "label", "", "`text` to know the new release by (default: that of the old one)")
	flags.StringVar(&req.Note.By, "by", callerName(), "`name` of the person or program that goes back")
	flags.BoolVar(&req.FailOnCut, "fail-on-cut", false, "exit with 7 if requests or streams of the release before had to be cut")
	flags.BoolVar(&req.Detach, "detach", false, "return as soon as the deployment is accepted; it goes on by itself")
	output := AddOutputFlag(cmd)
	quiet := flags.BoolP("quiet", "q", false, "print errors only")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if *to != "" {
			if req.To, err = api.ParseRelease(*to); err != nil {
				return err
			}
		}
		c, err := env.Client(cmd)
		if err != nil {
			return err
		}
		if len(args) == 0 {
			if args, err = onlyService(cmd.Context(), c); err != nil {
				return err
			}
		}
		return onService(args[0], func(name string) error {
			call := deployCall{path: api.RollbackPath(name), body: req, detach: req.Detach}
			return call.do(env, c, newDeployPrinter(env, *output, *quiet, false))
		})
	}
	return cmd
}

// callerName returns who runs the command, as far as the environment tells.
func callerName() string {
	for _, name := range []string{"SUDO_USER", "USER", "LOGNAME"} {
		if who := os.Getenv(name); who != "" && len(who) <= api.MaxNote {
			return who
		}
	}
	return ""
}

// onlyService returns the name of the one service that there is.
func onlyService(ctx context.Context, c *client.Client) ([]string, error) {
	services, err := c.Services(ctx)
	switch {
	case err != nil:
		return nil, err
	case len(services) == 0:
		return nil, &api.Error{Code: api.CodeNotFound, Message: "nothing is deployed"}
	case len(services) > 1:
		return nil, api.Invalid("there are %d services; give the name of one", len(services)).WithHint("see: parachute list")
	}
	return []string{services[0].Name}, nil
}
