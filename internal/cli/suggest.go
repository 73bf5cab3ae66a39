package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// SimilarFlag returns the flag that somebody who wrote name may have meant: the
// nearest, or else the only one that begins like it. Without such a flag it returns
// nothing.
func SimilarFlag(flags *pflag.FlagSet, name string) string {
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

// similarCommand returns the command that somebody who wrote name may have meant, or nothing:
// the nearest, or one of that name that belongs to another command.
func similarCommand(cmd *cobra.Command, name string) string {
	for _, group := range cmd.Commands() {
		for _, inner := range group.Commands() {
			if inner.Name() == name && !inner.Hidden {
				return group.Name() + " " + name
			}
		}
	}
	cmd.SuggestionsMinimumDistance = 2
	similar := cmd.SuggestionsFor(name)
	if len(similar) == 0 {
		return ""
	}
	return slices.MinFunc(similar, func(a, b string) int { return editDistance(name, a) - editDistance(name, b) })
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
