package cli

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/parachute-proxy/parachute/internal/api"
)

// addSettingFlags gives cmd a flag for each setting of a deploy, with its completion.
func addSettingFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	for _, s := range api.Settings() {
		switch d := s.Default.(type) {
		case api.Duration:
			flags.Var(&d, s.Name, s.Text)
		case api.Size:
			flags.Var(&d, s.Name, s.Text)
		case bool:
			flags.Bool(s.Name, d, s.Text)
		case int:
			flags.Int(s.Name, d, s.Text)
		case string:
			flags.String(s.Name, d, s.Text)
		default:
			addFlagOf(flags, s)
		}
		if s.Choices != nil {
			_ = cmd.RegisterFlagCompletionFunc(s.Name, cobra.FixedCompletions(s.Choices, cobra.ShellCompDirectiveNoFileComp))
		}
	}
}

// addFlagOf adds the flag of a setting whose default is nothing.
func addFlagOf(flags *pflag.FlagSet, s api.Setting) {
	v, _ := s.In(new(api.DeployRequest))
	switch {
	case s.Secret:
		flags.String(s.Name, "", s.Text) // a file
	case s.Verbatim:
		flags.StringArray(s.Name, nil, s.Text)
	case v.IsValid() && v.Kind() == reflect.Slice:
		flags.StringSlice(s.Name, nil, s.Text)
	case v.IsValid() && v.Kind() == reflect.Int:
		flags.Int(s.Name, 0, s.Text)
	case v.IsValid() && v.Type() == reflect.TypeFor[api.Size]():
		flags.Var(new(api.Size), s.Name, s.Text)
	default:
		flags.String(s.Name, "", s.Text)
	}
}

// addUnsetFlag gives cmd a flag for settings that are to have their defaults again.
func addUnsetFlag(cmd *cobra.Command) *[]string {
	unset := cmd.Flags().StringSlice("unset", nil, "`settings` that get their defaults again, such as host or sticky")
	var names []string
	for _, s := range api.Settings() {
		names = append(names, s.Name)
	}
	_ = cmd.RegisterFlagCompletionFunc("unset", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
	return unset
}

// unsetIn has p give settings their defaults again.
func unsetIn(p api.Patch, names []string) error {
	settings := api.Settings()
	for _, name := range names {
		name = strings.TrimPrefix(name, "--")
		i := slices.IndexFunc(settings, func(s api.Setting) bool { return s.Name == name })
		switch {
		case i < 0:
			return &api.Error{Code: api.CodeInvalid, Message: fmt.Sprintf("unknown setting %.64q", name), Hint: "see the flags of: parachute deploy --help"}
		case p.Names(settings[i].Place()):
			return &api.Error{Code: api.CodeInvalid, Message: fmt.Sprintf("--%s is given and in --unset", name), Hint: "leave one of them out"}
		}
		place := settings[i].Place()
		if name == "tls" {
			place = name // with all that belongs to it
		}
		p.Set(place, nil)
	}
	return nil
}

// refuseEmptySettings refuses flags that were given without a value where that is a
// mistake.
func refuseEmptySettings(flags *pflag.FlagSet) error {
	var names []string
	for _, s := range api.Settings() {
		if s.NotEmpty {
			names = append(names, s.Name)
		}
	}
	return RefuseEmpty(flags, names...)
}

// settingsOf returns what the flags of [addSettingFlags] ask for, without what is about TLS.
// Flags that were not given are left out: the service keeps what it has.
func settingsOf(flags *pflag.FlagSet) api.Patch {
	p := api.Patch{}
	for _, s := range api.Settings() {
		if f := flags.Lookup(s.Name); f.Changed && !strings.HasPrefix(s.Place(), "tls.") {
			p.Set(s.Place(), valueOf(flags, f))
		}
	}
	return p
}

// valueOf returns the value of a flag as JSON has it.
func valueOf(flags *pflag.FlagSet, f *pflag.Flag) any {
	switch v := f.Value.(type) {
	case *api.Duration:
		return v.String()
	case *api.Size:
		return v.String()
	case pflag.SliceValue:
		return v.GetSlice()
	}
	switch f.Value.Type() {
	case "bool":
		v, _ := flags.GetBool(f.Name)
		return v
	case "int":
		v, _ := flags.GetInt(f.Name)
		return v
	}
	return f.Value.String()
}
