package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/client"
)

// CompleteServices completes the names of live services.
func (e *Env) CompleteServices(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if FlagsFromEnv(cmd, "PARACHUTE_") != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := e.Client(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(context.Background(), client.ConnectTimeout)
	defer cancel()
	services, err := c.Services(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, s := range services {
		if strings.HasPrefix(s.Name, prefix) {
			names = append(names, s.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (e *Env) completeOneService(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return e.CompleteServices(cmd, args, prefix)
}
