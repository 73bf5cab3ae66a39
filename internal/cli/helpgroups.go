package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/parachute-proxy/parachute/internal/api"
)

// helpWidth is how wide the help of a command with many flags is, in columns: a terminal has at least
// that many.
const helpWidth = 80

// groupFlags has the help of cmd, which has a flag for each setting of a deploy, show them by what they
// are about. Flags that are no settings say how the command goes.
func groupFlags(cmd *cobra.Command) {
	cmd.SetUsageFunc(func(cmd *cobra.Command) error {
		var b strings.Builder
		fmt.Fprintf(&b, "Usage:\n  %s\n\nExamples:\n%s\n", cmd.UseLine(), cmd.Example)
		groups := flagsByGroup(cmd.LocalFlags())
		for _, group := range api.Groups() {
			fmt.Fprintf(&b, "\n%s:\n%s", group, groups[group].FlagUsagesWrapped(helpWidth))
		}
		if cmd.HasAvailableInheritedFlags() {
			fmt.Fprintf(&b, "\nGlobal flags:\n%s", cmd.InheritedFlags().FlagUsagesWrapped(helpWidth))
		}
		_, err := cmd.OutOrStderr().Write([]byte(b.String()))
		return err
	})
}

// flagsByGroup divides flags, each group in the order of the table of settings.
func flagsByGroup(flags *pflag.FlagSet) map[api.Group]*pflag.FlagSet {
	groups := make(map[api.Group]*pflag.FlagSet)
	for _, group := range api.Groups() {
		groups[group] = pflag.NewFlagSet(string(group), pflag.ContinueOnError)
		groups[group].SortFlags = false
	}
	settings := api.Settings()
	for _, s := range settings {
		if f := flags.Lookup(s.Name); f != nil {
			groups[s.Group].AddFlag(f)
		}
	}
	flags.VisitAll(func(f *pflag.Flag) {
		if !slices.ContainsFunc(settings, func(s api.Setting) bool { return s.Name == f.Name }) {
			groups[api.GroupDeploy].AddFlag(f)
		}
	})
	return groups
}
