package parachute

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"
)

// modulePath is where Go's build information finds us.
const modulePath = "github.com/parachute-proxy/parachute"

// version is set when the program is built by `make`.
var version string

// Version returns parachute's version, or "dev" if it is not known.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range append(info.Deps, &info.Main) {
			if m.Path == modulePath && m.Version != "" && m.Version != "(devel)" && m.Version != "v0.0.0" {
				return m.Version
			}
		}
	}
	return "dev"
}

// versionInfo names what a bug report needs.
type versionInfo struct {
	Parachute string `json:"parachute"`
	Caddy     string `json:"caddy"`
	Go        string `json:"go"`
}

func versions() versionInfo {
	simple, _ := caddy.Version()
	return versionInfo{Parachute: Version(), Caddy: simple, Go: runtime.Version()}
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
