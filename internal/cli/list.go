package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
)

// listOptions are the flags of list.
type listOptions struct {
	names  []string
	filter string
	wide   bool
	watch  bool
	quiet  bool
	output *OutputFormat
}

func newListCommand(env *Env) *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:     "list [SERVICE...]",
		Aliases: []string{"ls"},
		Short:   "List the services with their health and traffic",
		Long: `list prints a line for each release that serves or drains. Without a SERVICE, it
lists all services.

On a terminal, columns are shortened or left out to fit; --wide prevents that.
--watch lists again every second, with the requests per second, until it is
interrupted.`,
		ValidArgsFunction: env.CompleteServices,
	}
	o.output = AddOutputFlag(cmd)
	flags := cmd.Flags()
	flags.StringVar(&o.filter, "filter", "", "list only services with this `text` in their name, a route or a target")
	flags.BoolVar(&o.wide, "wide", false, "show everything, however long the lines become")
	flags.BoolVar(&o.watch, "watch", false, "list again every second; with --output json, a line each time")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "print errors only: the exit code says whether the proxy answers")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		o.names = names
		if o.watch && o.quiet {
			return api.Invalid("--watch and --quiet contradict each other").WithHint("leave one of them out")
		}
		fetch := func(ctx context.Context) ([]api.ServiceStatus, error) {
			services, err := fetchServices(ctx, env, cmd, o.names...)
			if o.filter != "" {
				services = filterServices(services, o.filter)
			}
			return services, err
		}
		if o.watch {
			ctx, stop := env.interruptible()
			defer stop()
			ticker := time.NewTicker(watchInterval)
			defer ticker.Stop()
			return o.watchServices(ctx, env, ticker.C, fetch)
		}
		services, err := fetch(context.Background())
		if err != nil || o.quiet {
			return err
		}
		if err := o.print(env, services); err != nil || *o.output == outputJSON {
			return err
		}
		if err := noteFleet(cmd, env); err != nil {
			return err
		}
		return noteProcesses(cmd, env)
	}
	return cmd
}

// print prints the services once.
func (o *listOptions) print(env *Env, services []api.ServiceStatus) error {
	switch {
	case *o.output == outputJSON:
		return printJSON(env.Out, api.ServiceList{Services: services})
	case len(services) == 0 && o.filter != "":
		env.note(fmt.Sprintf("no service has %q in its name, a route or a target", api.Printable(o.filter)))
		return nil
	case len(services) == 0:
		env.nothingDeployed()
		return nil
	}
	l := listing{services: services, now: time.Now(), wide: o.wide}
	return l.table().print(env.Out, o.columns(env))
}

// columns returns how long lines may be; 0 means as long as they are.
func (o *listOptions) columns(env *Env) int {
	if o.wide {
		return 0
	}
	columns, _ := env.Out.size()
	return columns
}
