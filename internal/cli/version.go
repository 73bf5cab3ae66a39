package cli

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/version"
)

// Versions names what a bug report needs.
type Versions struct {
	Parachute string `json:"parachute"`
	Caddy     string `json:"caddy"`
	Go        string `json:"go"`
}

// RunningVersions returns the versions of this program.
func RunningVersions() Versions {
	simple, _ := caddy.Version()
	return Versions{Parachute: version.Version(), Caddy: simple, Go: runtime.Version()}
}

func (v Versions) String() string {
	return fmt.Sprintf("parachute %s, Caddy %s, %s", v.Parachute, v.Caddy, v.Go)
}

func newVersionCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of parachute and of the Caddy in it",
		Args:  cobra.NoArgs,
	}
	output := AddOutputFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		if *output == outputJSON {
			return json.NewEncoder(env.Out).Encode(RunningVersions())
		}
		_, err := fmt.Fprintln(env.Out, RunningVersions())
		return err
	}
	return cmd
}
