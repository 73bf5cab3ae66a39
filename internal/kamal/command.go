package kamal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/parachute-proxy/parachute/internal/cli"
	"github.com/parachute-proxy/parachute/internal/client"
	"github.com/parachute-proxy/parachute/internal/version"
)

// program is what the commands have in common.
type program struct {
	*cli.Env
	start Start
	store Store
}

// Command returns the command line of kamal-proxy. start starts the proxy, store puts what it takes
// over into its storage.
func Command(env *cli.Env, start Start, store Store) *cobra.Command {
	p := &program{Env: env, start: start, store: store}
	root := &cobra.Command{
		Use:           "kamal-proxy",
		Short:         "HTTP proxy for zero downtime deployments",
		Long:          "HTTP proxy for zero downtime deployments.\n\nThis is parachute " + version.Version() + " with the commands of kamal-proxy " + Grammar + ".\nIts own commands work as well: parachute help",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetIn(env.In)
	root.SetOut(env.Out)
	root.SetErr(env.Err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return flagError(err) })
	root.AddCommand(p.runCommand(), p.deployCommand(), p.removeCommand(), p.pauseCommand(), p.stopCommand(), p.resumeCommand(),
		p.listCommand(), p.rolloutCommand(), p.versionCommand())
	return root
}

// Execute runs root, which is that of [Command], with the arguments of the program, and ends
// the process: with 0, or with 1 and an error on standard error.
func Execute(env *cli.Env, root *cobra.Command) {
	root.SetArgs(env.Args)
	err := root.Execute()
	if err == nil {
		env.Quit(0)
		return
	}
	fmt.Fprintf(env.Err, "Error: %s\n", describe(err))
	env.Quit(1)
}

// flagError returns the error of a flag. One that is not known is probably of a Kamal that is
// newer than this program, which would not be found out from the name alone.
func flagError(err error) error {
	if _, ok := errors.AsType[*pflag.NotExistError](err); ok {
		return fmt.Errorf("%w (this is parachute %s, which has the flags of kamal-proxy %s; a newer Kamal may need a newer parachute)", err, version.Version(), Grammar)
	}
	return err
}

// client returns a client of the proxy.
func (p *program) client() (*client.Client, error) { return p.Connect(adminAddress()) }

// adminAddress returns where the proxy listens for commands; empty for the usual place.
func adminAddress() string {
	if own := os.Getenv("PARACHUTE_ADMIN"); own != "" {
		return own
	}
	if socket := os.Getenv("KAMAL_PROXY_SOCKET"); socket != "" {
		return "unix/" + socket
	}
	return ""
}

// interruptible returns a context that ends when somebody wants the process to stop.
func interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

// warn tells people something that is no error.
func (p *program) warn(format string, args ...any) {
	fmt.Fprintf(p.Err, "Warning: "+format+"\n", args...)
}

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(p.Out, "parachute %s (kamal-proxy %s)\n", version.Version(), Grammar)
			return err
		},
	}
}
