package parachute

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/parachute-proxy/parachute/internal/api"
)

const (
	outputText = "text"
	outputJSON = "json"
)

// outputFormat is a flag that takes text or json.
type outputFormat string

func (o *outputFormat) String() string { return string(*o) }
func (*outputFormat) Type() string     { return "format" }

func (o *outputFormat) Set(s string) error {
	if s != outputText && s != outputJSON {
		return fmt.Errorf("%q is no output format; write text or json", s)
	}
	*o = outputFormat(s)
	return nil
}

func addOutputFlag(cmd *cobra.Command) *outputFormat {
	format := outputFormat(outputText)
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

// style is how text looks on a terminal.
type style struct{ color bool }

// styleOf decides by the customs of the field: --no-color, NO_COLOR
// (no-color.org), CLICOLOR_FORCE, TERM, and whether f is a terminal at all.
func styleOf(cmd *cobra.Command, f *os.File) style {
	off, _ := cmd.Flags().GetBool("no-color")
	force := os.Getenv("CLICOLOR_FORCE")
	switch {
	case off || os.Getenv("NO_COLOR") != "":
		return style{}
	case force != "" && force != "0":
		return style{color: true}
	}
	return style{color: isTerminal(f)}
}

// isTerminal says whether f is a terminal that can move its cursor.
func isTerminal(f *os.File) bool {
	return term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

func (s style) paint(code, text string) string {
	if !s.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) green(text string) string { return s.paint("32", text) }
func (s style) red(text string) string   { return s.paint("31", text) }
func (s style) dim(text string) string   { return s.paint("2", text) }
func (s style) bold(text string) string  { return s.paint("1", text) }

// printError prints what happened, the outcome of health checks, and the way out.
func printError(w io.Writer, err error) {
	e, ok := errors.AsType[*api.Error](err)
	if !ok {
		fmt.Fprintf(w, "error: %s\n", err)
		return
	}
	fmt.Fprintf(w, "error: %s\n", e.Message)
	for _, r := range e.Details {
		if !r.Healthy {
			fmt.Fprintf(w, "  GET %s   %s\n", r.URL, failuresOf(r))
		}
	}
	if e.Hint != "" {
		fmt.Fprintf(w, "  hint: %s\n", e.Hint)
	}
}

// failuresOf tells the failures of a target in their order.
func failuresOf(r api.ProbeReport) string {
	if len(r.Failures) == 0 {
		return "no check was finished"
	}
	var all []string
	for _, f := range r.Failures {
		all = append(all, fmt.Sprintf("%s (%s)", f.Reason, times(f.Count)))
	}
	return strings.Join(all, ", then ")
}

// someOf writes a list in short.
func someOf(all []string, separator string) string {
	const shown = 3
	if len(all) > shown {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:shown], separator), len(all)-shown)
	}
	return strings.Join(all, separator)
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// seconds writes a duration as people read it.
func seconds(d api.Duration) string {
	t := time.Duration(d)
	switch {
	case t < time.Millisecond:
		return fmt.Sprintf("%d µs", t.Microseconds())
	case t < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(t)/float64(time.Millisecond))
	case t < time.Second:
		return fmt.Sprintf("%d ms", t.Milliseconds())
	case t < time.Minute:
		return fmt.Sprintf("%.1fs", t.Seconds())
	}
	return t.Round(time.Second).String()
}
