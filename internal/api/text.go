package api

import (
	"fmt"
	"strings"
)

// ShellWord quotes what a shell would not take as it is.
func ShellWord(s string) string {
	if strings.Trim(s, labelChars+".,:/") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Count writes a number of things: "1 request", "2 requests".
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Printable returns s as it can be shown on a terminal: without control
// characters, and no longer than a line or two.
func Printable(s string) string { return PrintableUpTo(s, 200) }

// PrintableUpTo is [Printable] for texts of up to most bytes.
func PrintableUpTo(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if IsControl(r) {
			return '?'
		}
		return r
	}, s)
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// PrintableLines is [Printable] for a text of many lines, which may be indented.
func PrintableLines(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && IsControl(r) {
			return '?'
		}
		return r
	}, s)
}

// IsControl reports whether r steers a terminal (C0 and C1 controls, DEL) or makes
// a line read as what it is not (line separators, marks of bidirectional text).
func IsControl(r rune) bool {
	return r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x061c || r == 0x200e || r == 0x200f ||
		r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}
