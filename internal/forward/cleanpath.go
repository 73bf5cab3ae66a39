package forward

import (
	"bytes"
	"strings"
)

// IsClean reports whether a path, decoded, has nothing in it that [CleanPath] would resolve.
// It may be wrong about a path in which a name begins with a dot.
func IsClean(path string) bool { return !strings.Contains(path, "//") && !strings.Contains(path, "/.") }

// CleanPath returns a path, as a client has written it, with its dot segments resolved
// (RFC 3986, section 5.2.4) and its empty segments left out. A dot may be percent-encoded
// (section 6.2.2.2). A slash that is encoded is no border of a segment and stays as it is, and
// so does a slash at the end. What does not begin with a slash, such as the asterisk of
// OPTIONS, is no path and is returned unchanged.
func CleanPath(path string) string {
	if !strings.HasPrefix(path, "/") {
		return path
	}
	clean := make([]byte, 0, len(path))
	directory := false
	for segment := range strings.SplitSeq(path[1:], "/") {
		dots := dotsIn(segment)
		directory = segment == "" || dots == 1 || dots == 2
		switch {
		case dots == 2:
			clean = clean[:max(0, bytes.LastIndexByte(clean, '/'))]
		case !directory:
			clean = append(append(clean, '/'), segment...)
		}
	}
	if directory {
		clean = append(clean, '/')
	}
	return string(clean)
}

// dotsIn returns how many dots, as they are or encoded, a segment consists of: 0 if there is
// anything else in it.
func dotsIn(segment string) (n int) {
	for segment != "" {
		switch {
		case segment[0] == '.':
			segment = segment[1:]
		case len(segment) >= 3 && strings.EqualFold(segment[:3], "%2e"):
			segment = segment[3:]
		default:
			return 0
		}
		n++
	}
	return n
}
