package cli

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/parachute-proxy/parachute/internal/api"
	"github.com/parachute-proxy/parachute/internal/client"
)

// unprefixed are the flags that the environment may set without a prefix. Every other
// plain name may be another program's: a STORAGE=s3://backup must not move the state.
var unprefixed = []string{"http-port", "https-port", "debug"}

// FlagsFromEnv sets the flags that were not given from the environment. The empty
// prefix is for the flags of the command that are [unprefixed].
func FlagsFromEnv(cmd *cobra.Command, prefixes ...string) error {
	flags := cmd.Flags()
	var failed error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" || failed != nil {
			return
		}
		for _, prefix := range prefixes {
			name := prefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
			value, ok := os.LookupEnv(name)
			if !ok || value == "" || prefix == "" && !slices.Contains(unprefixed, f.Name) {
				continue
			}
			if err := flags.Set(f.Name, value); err != nil {
				if prefix == "" {
					// DEBUG and the like mean other things to other programs, and Kubernetes
					// sets HTTP_PORT=tcp://10.0.0.1:80 for a service called http.
					restoreDefault(f)
					fmt.Fprintf(cmd.ErrOrStderr(), "warning: the environment variable %s has no valid value for --%s and is ignored\n", name, f.Name)
					return
				}
				failed = fmt.Errorf("environment variable %s: %s", name, invalidValue(value, errors.Unwrap(err)))
				return
			}
			_ = flags.SetAnnotation(f.Name, variableAnnotation, []string{name})
			return
		}
	})
	return failed
}

// variableAnnotation holds the environment variable that a flag has its value from.
const variableAnnotation = "parachute_environment_variable"

// VariableOf returns the environment variable that a flag has its value from; it is empty
// if the flag was given, or has its default.
func VariableOf(f *pflag.Flag) string {
	if names := f.Annotations[variableAnnotation]; len(names) > 0 {
		return names[0]
	}
	return ""
}

// restoreDefault undoes what an invalid value has done to f: pflag stores the zero
// value. It does not store a list that it cannot read, and would take the text of a
// default, "[]", for an element.
func restoreDefault(f *pflag.Flag) {
	if _, list := f.Value.(pflag.SliceValue); !list {
		_ = f.Value.Set(f.DefValue)
	}
}

// nameVariables adds to an error about what was asked for the environment variables that
// it is about: who is told of a flag looks for it in the command line, in vain.
func nameVariables(flags *pflag.FlagSet, err error) error {
	failure, ok := errors.AsType[*api.Error](err)
	if !ok {
		return err
	}
	_, start := errors.AsType[startError](err)
	if !start && failure.Code != api.CodeInvalid && failure.Code != api.CodeRouteConflict && failure.Code != client.CodeUnreachable {
		return err
	}
	message := failure.Message
	flags.VisitAll(func(f *pflag.Flag) {
		if name := VariableOf(f); name != "" && isAbout(message, f) {
			failure.Message += fmt.Sprintf("; --%s has its value from the environment variable %s", f.Name, name)
		}
	})
	return err
}

// isAbout reports whether a message names a flag, in the words of the command line or in
// those of the API, or its value, if that is not a truth value or a number.
func isAbout(message string, f *pflag.Flag) bool {
	words := []string{"--" + f.Name}
	if strings.Contains(f.Name, "-") {
		words = append(words, strings.ReplaceAll(f.Name, "-", " "))
	}
	if list, ok := f.Value.(pflag.SliceValue); ok {
		words = append(words, list.GetSlice()...)
	} else if f.Value.Type() == "string" {
		words = append(words, f.Value.String())
	}
	return slices.ContainsFunc(words, func(word string) bool {
		return word != "" && regexp.MustCompile(`(^|[^\w-])`+regexp.QuoteMeta(word)+`($|[^\w-])`).MatchString(message)
	})
}
