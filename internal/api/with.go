package api

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxWith bounds the directives of a service, in bytes.
const MaxWith = 256 << 10

// HasHandlers reports whether o asks for anything that requests pass on their way to a target.
func (o *Options) HasHandlers() bool { return o.With != "" }

func (r DeployRequest) resolveWith(*Spec) error {
	switch {
	case len(r.With) > MaxWith:
		return Invalid("the directives of %s are %d bytes, and can be %d at most", Field("with"), len(r.With), MaxWith)
	case !utf8.ValidString(r.With) || strings.ContainsRune(r.With, 0):
		return Invalid("the directives of %s are not text in UTF-8", Field("with"))
	case r.With != "" && strings.TrimSpace(r.With) == "":
		return Invalid("the directives of %s are empty", Field("with"))
	}
	return nil
}

// summaryOf tells a text of many lines from others: how many there are, and the beginning of
// the text's SHA-256.
func summaryOf(text string) string {
	lines := strings.Count(strings.TrimSuffix(text, "\n"), "\n") + 1
	return fmt.Sprintf("%s (%.4x)", Count(lines, "line"), sha256.Sum256([]byte(text)))
}
