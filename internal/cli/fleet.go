package cli

import (
	"context"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
)

func newFleetCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fleet",
		Short: "Show and change which proxies serve together",
		Long: `fleet is about the proxies that serve the same services and decide together what
those are; see docs/FLEET.md. Without a command, it shows them.`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
	}
	call := func(use, short, long, method string, args cobra.PositionalArgs, path func(args []string) string) *cobra.Command {
		c := &cobra.Command{Use: use, Short: short, Long: long, Args: args, ValidArgsFunction: cobra.NoFileCompletions}
		output := AddOutputFlag(c)
		c.RunE = func(c *cobra.Command, args []string) error {
			s, err := callFleet(c, env, method, path(args))
			if err != nil {
				return err
			}
			return printFleet(env, s, *output)
		}
		return c
	}
	own := func([]string) string { return api.PathFleet }
	status := call("status", "Show the proxies of the fleet", "status shows the proxies of the fleet as the one that is asked sees them.", http.MethodGet, cobra.NoArgs, own)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := callFleet(cmd, env, http.MethodGet, api.PathFleet)
		if err != nil {
			return err
		}
		return printFleet(env, s, outputText)
	}
	cmd.AddCommand(
		status,
		call("forget NAME", "Go on without a proxy that is gone for good",
			`forget has the fleet decide without a proxy that is not heard of. Be sure that it serves
no requests: if it is only cut off, it goes on to serve what it did. If it comes back,
it catches up and takes part again.`,
			http.MethodDelete, cobra.ExactArgs(1), func(args []string) string { return api.FleetMemberPath(args[0]) }),
		call("restore", "Give the fleet's store what it has lost",
			`restore is for a store that has lost its data. The services that this proxy serves, and
that the store does not have, are decided as they are here, and the other proxies
follow. Run it on the proxy that serves what is to stand. What the store has stays.`,
			http.MethodPost, cobra.NoArgs, func([]string) string { return api.PathFleetRestore }),
		call("leave", "Have this proxy leave the fleet, before it is stopped for good",
			`leave has this proxy say goodbye: the others go on without it. It goes on to serve what
it does, but is not ready any more, and follows no decisions. A proxy that is
stopped by a signal does this by itself.`,
			http.MethodDelete, cobra.NoArgs, own),
	)
	return cmd
}

func callFleet(cmd *cobra.Command, env *Env, method, path string) (s api.FleetStatus, err error) {
	c, err := env.Client(cmd)
	if err != nil {
		return s, err
	}
	return s, c.Call(context.Background(), method, path, nil, &s)
}

func printFleet(env *Env, s api.FleetStatus, output OutputFormat) error {
	if output == outputJSON {
		return printJSON(env.Out, s)
	}
	for _, m := range s.Members {
		note := ""
		switch {
		case m.Name == s.Name:
			note = "this one"
		case m.State == api.FleetGone:
			note = "not heard of for " + seconds(m.Unheard)
		}
		if _, err := fmt.Fprintf(env.Out, "%-24s %-8s %-12s %s\n", m.Name, m.State, m.Version, note); err != nil {
			return err
		}
	}
	for _, service := range s.Restored {
		env.note(" - restored " + service)
	}
	for _, i := range s.Imports {
		if i.Reason != "" {
			env.note(fmt.Sprintf(" - %s is served by this proxy alone: %s", i.Service, i.Reason))
		} else {
			env.note(fmt.Sprintf(" - %s is served by this proxy alone so far", i.Service))
		}
	}
	if s.Problem != "" {
		env.note(" - " + s.Problem)
	}
	return nil
}

// noteFleet tells how many proxies of the fleet take part; nothing without a fleet.
func noteFleet(cmd *cobra.Command, env *Env) error {
	s, err := callFleet(cmd, env, http.MethodGet, api.PathFleet)
	if api.ErrorCode(err) == api.CodeNotFound {
		return nil
	}
	if err == nil {
		env.note(fmt.Sprintf(" - %d of %d proxies of the fleet take part", s.Live(), len(s.Members)))
	}
	return err
}
