package kamal

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/run"
)

// Start starts the proxy with flags of `parachute run` and what kamal-proxy has differently. It
// returns only if that fails.
type Start func(args []string, c run.Compat) error

// gracePeriod is the time that requests and streams have to end when the proxy stops. Docker kills
// a container that it stops after 10s, so it has to be less.
const gracePeriod = 8 * time.Second

// storageName is the directory for parachute's own state, in that of kamal-proxy.
const storageName = "parachute"

// dataDir returns where kamal-proxy keeps its state; empty if there is no home directory.
func dataDir() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".config", "kamal-proxy")
}

// certificateDir returns where kamal-proxy keeps certificates.
func certificateDir() string { return filepath.Join(dataDir(), "certs") }

// runFlags are the flags of run.
type runFlags struct {
	debug                         bool
	httpPort, httpsPort, metrics  int
	http3                         bool
	readHeader, idle, requestBody time.Duration
}

func (p *program) runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{Use: "run", Short: "Run the server"}
	flags := cmd.Flags()
	flags.BoolVar(&f.debug, "debug", false, "Include debugging logs")
	flags.IntVar(&f.httpPort, "http-port", 80, "Port to serve HTTP traffic on")
	flags.IntVar(&f.httpsPort, "https-port", 443, "Port to serve HTTPS traffic on")
	flags.IntVar(&f.metrics, "metrics-port", 0, "Publish metrics on the specified port (default zero to disable)")
	flags.BoolVar(&f.http3, "http3", false, "Enable HTTP/3")
	flags.DurationVar(&f.readHeader, "read-header-timeout", 10*time.Second, "Maximum time to read the header of a request, the TLS handshake included")
	flags.DurationVar(&f.idle, "idle-timeout", time.Minute, "Maximum time that a connection may be idle between requests")
	flags.DurationVar(&f.requestBody, "request-body-timeout", time.Minute, "Maximum time that a client may stall while it sends a request body (zero to disable)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p.readEnvironment(flags)
		dir := dataDir()
		if dir == "" {
			return errors.New("there is no home directory for the state: set HOME")
		}
		if err := checkWritable(dir); err != nil {
			return err
		}
		return p.start(f.native(flags, filepath.Join(dir, storageName)), run.Compat{
			ReadHeaderTimeout: f.readHeader, IdleTimeout: f.idle, HTTP3: f.http3,
			TargetHeader: "X-Kamal-Target", LogFormat: "kamal_proxy",
			Prepare: func(storage string) error { return takeOver(storage, p.store, p.say) },
			Greet:   greet,
		})
	}
	return cmd
}

// fromEnvironment are the flags of run that the environment may set, with and without the prefix.
var fromEnvironment = []string{"debug", "http-port", "https-port", "metrics-port", "read-header-timeout", "idle-timeout", "request-body-timeout"}

// say writes a line to the log, as kamal-proxy has it, before there is one.
func (p *program) say(l Line) {
	log := slog.New(slog.NewJSONHandler(p.Err, nil))
	if l.Bad {
		log.Warn(l.Text)
	} else {
		log.Info(l.Text)
	}
}

// readEnvironment sets the flags that were not given from the environment. What has no valid value
// there is left alone, as with kamal-proxy, but is told.
func (p *program) readEnvironment(flags *pflag.FlagSet) {
	for _, name := range fromEnvironment {
		if flags.Changed(name) {
			continue
		}
		variable := strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		for _, key := range []string{"KAMAL_PROXY_" + variable, variable} {
			value, ok := os.LookupEnv(key)
			if !ok {
				continue
			}
			f := flags.Lookup(name)
			before := f.Value.String()
			if err := flags.Set(name, value); err != nil {
				_ = f.Value.Set(before)
				p.warn("the environment variable %s has no valid value for --%s and is ignored", key, name)
			}
			break
		}
	}
}

// native returns the flags of `parachute run` that these are. What its own variables say, such as
// PARACHUTE_GRACE_PERIOD, counts more than what kamal-proxy has by default.
func (f *runFlags) native(flags *pflag.FlagSet, storage string) []string {
	var args []string
	add := func(name, value string) {
		if os.Getenv("PARACHUTE_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))) == "" {
			args = append(args, "--"+name+"="+value)
		}
	}
	for _, name := range []string{"debug", "http-port", "https-port", "metrics-port"} {
		if flags.Changed(name) {
			args = append(args, "--"+name+"="+flags.Lookup(name).Value.String())
		}
	}
	stall := f.requestBody
	if stall == 0 {
		stall = 24 * time.Hour // the longest that there is
	}
	add("client-timeout", stall.String())
	add("grace-period", gracePeriod.String())
	add("access-log", "true")
	add("storage", storage)
	if address := adminAddress(); address != "" {
		add("admin", address)
	}
	return args
}

// checkWritable returns what to do if the state cannot be written: the volume may belong to
// another user. kamal-proxy goes on with a temporary directory, and forgets all services.
func checkWritable(dir string) error {
	err := os.MkdirAll(dir, 0o700)
	var probe *os.File
	if err == nil {
		if probe, err = os.CreateTemp(dir, ".writable-"); err == nil {
			_ = probe.Close()
			err = os.Remove(probe.Name())
		}
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("the directory of the state cannot be written: %w; give it to the user of this process: chown -R %d:%d %[4]s; for the volume of a container: docker run --rm --user root --volumes-from kamal-proxy IMAGE chown -R %[2]d:%[3]d %[4]s", err, os.Getuid(), os.Getgid(), dir)
}

// greet tells the log what people and the tests of Kamal look for.
func greet(log *zap.Logger, restored bool, httpPort, httpsPort int) {
	if restored {
		log.Info("Restored saved state")
	} else {
		log.Info("No previous state to restore")
	}
	log.Info("Server started", zap.Int("http", httpPort), zap.Int("https", httpsPort))
}
