package cli

import (
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/parachute-proxy/parachute/internal/api"
)

// leaveOutStray leaves out what nothing but the environment says, and what would be refused
// because of the other settings: it is meant for other deploys.
func leaveOutStray(flags *pflag.FlagSet, p api.Patch, targets []string) {
	plain := slices.ContainsFunc(targets, func(target string) bool { return !strings.HasPrefix(strings.ToLower(target), "https://") })
	for name, stray := range map[string]bool{
		"target-ca": plain, "target-server-name": plain, "target-insecure": plain, "sticky-same-site": p["sticky"] != true,
	} {
		if stray && VariableOf(flags.Lookup(name)) != "" {
			delete(p, strings.ReplaceAll(name, "-", "_"))
		}
	}
}
