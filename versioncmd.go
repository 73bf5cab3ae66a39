package parachute

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/version"
)

// versionInfo names what a bug report needs.
type versionInfo struct {
	Parachute string `json:"parachute"`
	Caddy     string `json:"caddy"`
	Go        string `json:"go"`
}

func versions() versionInfo {
	simple, _ := caddy.Version()
	return versionInfo{Parachute: version.Version(), Caddy: simple, Go: runtime.Version()}
}

func (v versionInfo) String() string {
	return fmt.Sprintf("parachute %s, Caddy %s, %s", v.Parachute, v.Caddy, v.Go)
}

func newVersionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of parachute and of the Caddy in it",
		Args:  cobra.NoArgs,
	}
	output := addOutputFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		if *output == outputJSON {
			return json.NewEncoder(os.Stdout).Encode(versions())
		}
		_, err := fmt.Println(versions())
		return err
	}
	return cmd
}
