package cli

import (
	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
)

// NewCaddyCommand returns the command that stands in the help for the other program in
// the binary. It runs only if flags come before it: internal/argv0 has everything else
// behind `parachute caddy` done by Caddy's own command line.
func NewCaddyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "caddy COMMAND",
		Short: "Run the Caddy in this program, with all of its commands",
		Long: `caddy is plain Caddy: parachute caddy run is what caddy run is in a Caddy that was
built with parachute. Its commands do not know the flags of parachute.`,
		Example: `  parachute caddy help
  parachute caddy run --config Caddyfile
  parachute caddy list-modules`,
		DisableFlagParsing: true,
		ValidArgsFunction:  cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			return api.Invalid("the commands of Caddy take no flags of parachute").
				WithHint("write the flags behind them, as in: parachute caddy run --config Caddyfile")
		},
	}
}
