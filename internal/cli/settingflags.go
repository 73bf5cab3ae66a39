package cli

import (
	"reflect"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/parachute-proxy/parachute/internal/api"
)

// AddSettingFlags gives cmd a flag for each setting of a deploy, with its completion.
func AddSettingFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	for _, s := range api.Settings() {
		switch d := s.Default.(type) {
		case api.Duration:
			flags.Var(&d, s.Name, s.Text)
		case bool:
			flags.Bool(s.Name, d, s.Text)
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
	case v.IsValid() && v.Kind() == reflect.Slice:
		flags.StringSlice(s.Name, nil, s.Text)
	case v.IsValid() && v.Kind() == reflect.Int:
		flags.Int(s.Name, 0, s.Text)
	default:
		flags.String(s.Name, "", s.Text)
	}
}

// RefuseEmptySettings refuses flags that were given without a value where that is a
// mistake.
func RefuseEmptySettings(flags *pflag.FlagSet) error {
	var names []string
	for _, s := range api.Settings() {
		if s.NotEmpty {
			names = append(names, s.Name)
		}
	}
	return RefuseEmpty(flags, names...)
}

// SettingsOf returns the request that the flags of [AddSettingFlags] ask for, without
// what is about TLS. Flags that were not given are left out, so that defaults are decided
// in one place.
func SettingsOf(flags *pflag.FlagSet) api.DeployRequest {
	var req api.DeployRequest
	for _, s := range api.Settings() {
		to, ok := s.In(&req)
		f := flags.Lookup(s.Name)
		if !ok || !f.Changed {
			continue
		}
		value := reflect.ValueOf(valueOf(flags, f))
		if to.Kind() == reflect.Pointer {
			to.Set(reflect.New(to.Type().Elem()))
			to = to.Elem()
		}
		to.Set(value.Convert(to.Type()))
	}
	return req
}

// valueOf returns the value of a flag as the type that it was made with.
func valueOf(flags *pflag.FlagSet, f *pflag.Flag) any {
	switch v := f.Value.(type) {
	case *api.Duration:
		return *v
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
