package cli

import (
	"encoding/csv"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/parachute-proxy/parachute/internal/api"
)

// describeFlagError says what is wrong with a command line of cmd, in words that are
// not those of Go's packages.
func describeFlagError(cmd *cobra.Command, err error) error {
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return fmt.Errorf("--%s: %s", invalid.GetFlag().Name, invalidValue(invalid.GetValue(), invalid.Unwrap()))
	}
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok && unknown.GetSpecifiedShortnames() == "" {
		if similar := SimilarFlag(cmd.Flags(), unknown.GetSpecifiedName()); similar != "" {
			return fmt.Errorf("%w; did you mean --%s?", err, similar)
		}
	}
	return err
}

// RefuseStrayValues explains targets that are the value of the flag before them: a flag
// that can do without a value takes one only behind an equals sign.
func RefuseStrayValues(flags *pflag.FlagSet, args, targets []string) error {
	for i, value := range args[min(1, len(args)):] {
		name, long := strings.CutPrefix(args[i], "--")
		if f := flags.Lookup(name); !long || f == nil || f.NoOptDefVal == "" || !slices.Contains(targets, value) {
			continue
		}
		if _, err := strconv.ParseBool(value); err == nil || value == string(api.IssuerAuto) {
			return &api.Error{
				Code:    api.CodeInvalid,
				Message: fmt.Sprintf("%q was taken as a target, not as the value of --%s", value, name),
				Hint:    fmt.Sprintf("write --%s=%s", name, value),
			}
		}
	}
	return nil
}

// invalidValue says why a flag cannot have a value.
func invalidValue(value string, err error) string {
	if list, ok := errors.AsType[*csv.ParseError](err); ok {
		return fmt.Sprintf("%q is not a list: %v", value, list.Err)
	}
	number, ok := errors.AsType[*strconv.NumError](err)
	switch {
	case !ok:
		return err.Error()
	case number.Func == "ParseBool":
		return fmt.Sprintf("%q is not true or false", value)
	case errors.Is(err, strconv.ErrRange):
		return fmt.Sprintf("%q is out of range", value)
	}
	return fmt.Sprintf("%q is not a number", value)
}

// RefuseEmpty refuses flags that were given without a value, as by a shell variable
// that is not set: their defaults would give one application's traffic to another.
func RefuseEmpty(flags *pflag.FlagSet, names ...string) error {
	for _, name := range names {
		if f := flags.Lookup(name); f.Changed && strings.Trim(f.Value.String(), "[]") == "" {
			return &api.Error{
				Code:    api.CodeInvalid,
				Message: fmt.Sprintf("--%s is given but empty", name),
				Hint:    "leave it out for the default; if its value is a variable, check that it is set",
			}
		}
	}
	return nil
}
