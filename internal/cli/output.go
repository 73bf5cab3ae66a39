package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const (
	outputText = "text"
	outputJSON = "json"
)

// OutputFormat is a flag that takes text or json. It implements pflag.Value.
type OutputFormat string

func (o *OutputFormat) String() string { return string(*o) }
func (*OutputFormat) Type() string     { return "format" }

func (o *OutputFormat) Set(s string) error {
	if s != outputText && s != outputJSON {
		return fmt.Errorf("unknown output format %q; use text or json", s)
	}
	*o = OutputFormat(s)
	return nil
}

// AddOutputFlag gives a command the flag --output and returns its value, which is text
// by default.
func AddOutputFlag(cmd *cobra.Command) *OutputFormat {
	format := OutputFormat(outputText)
	cmd.Flags().VarP(&format, "output", "o", "output `format`: text or json")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{outputText, outputJSON}, cobra.ShellCompDirectiveNoFileComp))
	return &format
}

// wantsJSON reports whether a command line asks for JSON. It looks at nothing else,
// since the rest may be what is wrong with the command line.
func wantsJSON(args []string) bool {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	format := flags.StringP("output", "o", os.Getenv("PARACHUTE_OUTPUT"), "")
	flags.BoolP("quiet", "q", false, "") // or it would be taken for one with a value
	flags.Usage = func() {}
	_ = flags.Parse(args)
	return *format == outputJSON
}

func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}
