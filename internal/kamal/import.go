package kamal

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/cli"
	"github.com/parachute-proxy/parachute/internal/run"
)

// ImportCommand returns the command that takes over what another program has left. store puts it
// into a storage, lock keeps a storage from running proxies until unlock is called.
func ImportCommand(env *cli.Env, store Store, lock func(storage string) (unlock func(), err error)) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Take over what another proxy has served",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var storage, certificates string
	var dryRun, overwrite bool
	from := &cobra.Command{
		Use:   "kamal FILE",
		Short: "Take over the services and certificates of a kamal-proxy",
		Long: `import kamal takes over the services in the state file of a kamal-proxy, and the
certificates beside it. What cannot be taken over becomes a broken service, with the
reason. The files of kamal-proxy stay as they are.

With --dry-run, it shows what it would do. Otherwise it writes to the storage of a proxy
that does not run, which serves all of it from its next start on. A storage that has
services already needs --overwrite, which replaces those of the same names.

kamal-proxy run, as the image parachute-kamal has it, does this by itself.

Exit codes: 0 done; 1 the file or the storage cannot be read or written; 2 invalid input.`,
		Example: `  parachute import kamal /home/kamal-proxy/.config/kamal-proxy/kamal-proxy.state --dry-run
  parachute import kamal kamal-proxy.state --storage /var/lib/parachute`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("import kamal needs one file, the state of kamal-proxy")
			}
			return nil
		},
	}
	from.Flags().BoolVar(&dryRun, "dry-run", false, "show what would be taken over, and change nothing")
	from.Flags().BoolVar(&overwrite, "overwrite", false, "write to a storage that has services already, and replace those of the same names")
	from.Flags().StringVar(&storage, "storage", "", "`directory` for state and certificates, as that of run")
	from.Flags().StringVar(&certificates, "certificates", "", "`directory` with the certificates of kamal-proxy (default: certs beside the file)")
	from.RunE = func(_ *cobra.Command, args []string) error {
		if certificates == "" {
			certificates = filepath.Join(filepath.Dir(args[0]), "certs")
		}
		if !dryRun && storage == "" {
			return api.Invalid("--storage is missing: it is not known what to write to").WithHint("name the directory that the proxy is run with, or use --dry-run")
		}
		l, err := Read(args[0], certificates, time.Now())
		if err != nil {
			return err
		}
		for _, line := range l.Report {
			sign := " - "
			if line.Bad {
				sign = " ! "
			}
			if _, err := fmt.Fprintln(env.Out, sign+line.Text); err != nil {
				return err
			}
		}
		if dryRun {
			return nil
		}
		unlock, err := lock(storage)
		if err != nil {
			return err
		}
		defer unlock()
		if n := run.StoredServices(storage); n > 0 && !overwrite {
			return api.Invalid("the storage in %s has %s already", api.Printable(storage), api.Count(n, "service")).
				WithHint("import into the storage of a new proxy; or look at what is there, and replace services of the same names with --overwrite")
		}
		if err := store(storage, l); err != nil {
			return err
		}
		return l.Mark(storage, time.Now())
	}
	cmd.AddCommand(from)
	return cmd
}
