package parachute

import (
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/parachute-proxy/parachute/internal/api"
)

// flagsFromEnv sets the flags that were not given from the environment. The empty
// prefix is for flags of the command's own: NO_COLOR means something to itself.
func flagsFromEnv(cmd *cobra.Command, prefixes ...string) error {
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
					fmt.Fprintf(os.Stderr, "warning: the environment variable %s is no value for --%s and is ignored\n", name, f.Name)
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

// describeFlagError says what is wrong with a command line of cmd, in words that are
// not those of Go's packages.
func describeFlagError(cmd *cobra.Command, err error) error {
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return fmt.Errorf("--%s: %s", invalid.GetFlag().Name, invalidValue(invalid.GetValue(), invalid.Unwrap()))
	}
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok && unknown.GetSpecifiedShortnames() == "" {
		if similar := similarFlag(cmd.Flags(), unknown.GetSpecifiedName()); similar != "" {
			return fmt.Errorf("%w; did you mean --%s?", err, similar)
		}
	}
	return err
}

// refuseStrayValues explains targets that are the value of the flag before them: a flag
// that can do without a value takes one only behind an equals sign.
func refuseStrayValues(flags *pflag.FlagSet, args, targets []string) error {
	for i, value := range args[min(1, len(args)):] {
		name, long := strings.CutPrefix(args[i], "--")
		if f := flags.Lookup(name); !long || f == nil || f.NoOptDefVal == "" || !slices.Contains(targets, value) {
			continue
		}
		if _, err := strconv.ParseBool(value); err == nil || value == string(api.IssuerAuto) {
			return &api.Error{
				Code:    api.CodeInvalid,
				Message: fmt.Sprintf("%q is taken for a target, and not for the value of --%s", value, name),
				Hint:    fmt.Sprintf("write --%s=%s", name, value),
			}
		}
	}
	return nil
}

// similarFlag returns the flag that somebody who wrote name may have meant: the
// nearest, or else the only one that begins like it. Without such a flag it returns
// nothing.
func similarFlag(flags *pflag.FlagSet, name string) string {
	name = strings.ToLower(name)
	var nearest string
	var beginning []string
	least := 3
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		// Nearly every letter of a short name would have to be changed.
		if d := editDistance(name, f.Name); d < least && 3*d <= len(f.Name) {
			nearest, least = f.Name, d
		}
		if strings.HasPrefix(f.Name, name) {
			beginning = append(beginning, f.Name)
		}
	})
	if nearest == "" && len(beginning) == 1 {
		return beginning[0]
	}
	return nearest
}

// editDistance counts the letters that have to be inserted, deleted, replaced or
// exchanged with their neighbour to make b of a (optimal string alignment).
func editDistance(a, b string) int {
	// The distances of the beginnings of a, up to before the previous letter, the
	// previous one and this one, to all beginnings of b.
	beforePrevious, previous, current := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range current {
		current[j] = j
	}
	for i := 1; i <= len(a); i++ {
		beforePrevious, previous, current = previous, current, beforePrevious
		current[0] = i
		for j := 1; j <= len(b); j++ {
			replaced := previous[j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			current[j] = min(previous[j]+1, current[j-1]+1, replaced)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				current[j] = min(current[j], beforePrevious[j-2]+1)
			}
		}
	}
	return current[len(b)]
}

// invalidValue says why a flag cannot have a value.
func invalidValue(value string, err error) string {
	if list, ok := errors.AsType[*csv.ParseError](err); ok {
		return fmt.Sprintf("%q is no list: %v", value, list.Err)
	}
	number, ok := errors.AsType[*strconv.NumError](err)
	switch {
	case !ok:
		return err.Error()
	case number.Func == "ParseBool":
		return fmt.Sprintf("%q is neither true nor false", value)
	case errors.Is(err, strconv.ErrRange):
		return fmt.Sprintf("%q is out of range", value)
	}
	return fmt.Sprintf("%q is no number", value)
}
