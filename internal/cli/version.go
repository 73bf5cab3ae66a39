package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
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

// allVersions is what version prints as JSON.
type allVersions struct {
	Versions
	// Proxy has the versions of the proxy that runs; it is null if none answers.
	Proxy *Versions `json:"proxy"`
}

// versionTimeout bounds how long version waits for the proxy.
const versionTimeout = 2 * time.Second

func newVersionCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of parachute, of its Caddy, and of the running proxy",
		Long: `version prints the versions of this program and, if a proxy answers, of that proxy.
After an update they differ until the proxy is restarted.`,
		Args: cobra.NoArgs,
	}
	output := AddOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ours := RunningVersions()
		proxy, err := proxyVersions(env, cmd)
		if api.ErrorCode(err) == api.CodeInvalid {
			return err // no address
		}
		if *output == outputJSON {
			return json.NewEncoder(env.Out).Encode(allVersions{ours, proxy})
		}
		fmt.Fprintln(env.Out, ours)
		switch {
		case proxy != nil:
			_, err = fmt.Fprintf(env.Out, "running proxy: %s\n", proxy)
			return err
		case cmd.Flags().Changed("admin"):
			env.note(" - " + err.Error())
		}
		return nil
	}
	return cmd
}

// proxyVersions asks the proxy for its versions.
func proxyVersions(env *Env, cmd *cobra.Command) (*Versions, error) {
	c, err := env.Client(cmd)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), versionTimeout)
	defer cancel()
	var v Versions
	if err := c.Call(ctx, http.MethodGet, api.PathVersion, nil, &v); err != nil {
		return nil, err
	}
	return &v, nil
}
