package run

import (
	"io"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/cli"
)

// Compat is what a proxy has that runs in the place of another one, besides the flags of run.
type Compat struct {
	// ReadHeaderTimeout is the time that a client has for the head of a request, and
	// IdleTimeout that which it may leave between two. Default: those of Caddy.
	ReadHeaderTimeout, IdleTimeout time.Duration
	// HTTP3 says that HTTPS is served over HTTP/3 as well.
	HTTP3 bool
	// TargetHeader is a header field in which a target is told its own address. Default: none.
	TargetHeader string
	// LogFormat is the name of the encoder of the log.
	LogFormat string
	// Prepare is called before the state is read, when no other process has the storage. It may
	// put something there. It is not called if the process takes over from another one.
	Prepare func(storage string) error
	// Greet tells the log that the proxy serves. restored says that there was a state.
	Greet func(log *zap.Logger, restored bool, httpPort, httpsPort int)
}

// StartCompat starts a proxy with flags of run, and warns on w. It returns only if that fails.
func StartCompat(w io.Writer, plugin Plugin, args []string, c Compat) error {
	o := &options{compat: &c}
	cmd := o.command(plugin)
	cmd.SetErr(w)
	cmd.Flags().String("admin", "", "")
	if err := cmd.ParseFlags(args); err != nil {
		return err
	}
	if err := cli.FlagsFromEnv(cmd, "PARACHUTE_"); err != nil {
		return err
	}
	return cmd.RunE(cmd, nil)
}

// prepare prepares the storage, and returns whether there is state in it.
func (c *Compat) prepare(storage string, takesOver bool) (restored bool, err error) {
	if c.Prepare != nil && !takesOver {
		if err := c.Prepare(storage); err != nil {
			return false, err
		}
	}
	return StoredServices(storage) > 0, nil
}

// StoredServices returns how many services there are in the storage in a directory.
func StoredServices(storage string) int {
	entries, _ := os.ReadDir(filepath.Join(storage, "parachute", "services"))
	return len(entries)
}

// adapt changes the config of the proxy's own servers.
func (c *Compat) adapt(config object) {
	servers := at(config, "apps", "http", "servers")
	for name, s := range servers {
		server := s.(object)
		if name == metricsServer {
			routes := server["routes"].([]any)
			// Every path has the metrics, but for that of readiness.
			routes[len(routes)-1] = object{"handle": []any{object{"handler": "metrics"}}}
			continue
		}
		if c.ReadHeaderTimeout > 0 {
			server["read_header_timeout"] = c.ReadHeaderTimeout.String()
		}
		if c.IdleTimeout > 0 {
			server["idle_timeout"] = c.IdleTimeout.String()
		}
		if name == httpsServer && !c.HTTP3 {
			server["protocols"] = []any{"h1", "h2"}
		}
		if c.TargetHeader != "" {
			handler := at(server["routes"].([]any)[0].(object)["handle"].([]any)[0].(object))
			handler["target_header"] = c.TargetHeader
		}
	}
}
