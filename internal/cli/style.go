package cli

import (
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

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

func (s style) red(text string) string { return s.paint("31", text) }

func (s style) dim(text string) string { return s.paint("2", text) }

func (s style) bold(text string) string { return s.paint("1", text) }
