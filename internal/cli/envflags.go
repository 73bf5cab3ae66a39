package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// FlagsFromEnv sets the flags that were not given from the environment. The empty
// prefix is for flags of the command's own: NO_COLOR means something to itself.
func FlagsFromEnv(cmd *cobra.Command, prefixes ...string) error {
	flags, inherited := cmd.Flags(), cmd.InheritedFlags()
	var failed error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" || failed != nil {
			return
		}
		for _, prefix := range prefixes {
			name := prefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
			value, ok := os.LookupEnv(name)
			if !ok || value == "" || prefix == "" && inherited.Lookup(f.Name) != nil {
				continue
			}
			if err := flags.Set(f.Name, value); err != nil {
				if prefix == "" {
					// DEBUG and the like mean other things to other programs, and Kubernetes
					// sets HTTP_PORT=tcp://10.0.0.1:80 for a service called http.
					restoreDefault(f)
					fmt.Fprintf(cmd.ErrOrStderr(), "warning: the environment variable %s is no value for --%s and is ignored\n", name, f.Name)
					return
				}
				failed = fmt.Errorf("environment variable %s: %s", name, invalidValue(value, errors.Unwrap(err)))
			}
			return
		}
	})
	return failed
}

// restoreDefault undoes what an invalid value has done to f: pflag stores the zero
// value. It does not store a list that it cannot read, and would take the text of a
// default, "[]", for an element.
func restoreDefault(f *pflag.Flag) {
	if _, list := f.Value.(pflag.SliceValue); !list {
		_ = f.Value.Set(f.DefValue)
	}
}
