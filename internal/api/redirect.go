package api

import (
	"fmt"
	"slices"
	"strings"
)

// Words returns the parts of a value such as "/old /new 301".
func Words(v string) []string { return strings.Fields(v) }

func checkRedirect(v string) error {
	words := Words(v)
	switch {
	case len(words) != 2 && len(words) != 3 || isBrace(words[1]) || !strings.HasPrefix(words[0], "/"):
		return fmt.Errorf("%.64q is not a redirect; write it as '/old /new', or with a status behind it", v)
	case strings.Contains(words[0], ",/"):
		return fmt.Errorf("%.64q has several paths; give each of them a redirect of its own", v)
	case !leadsSomewhere(words[1]):
		return fmt.Errorf("%.64q leads to what is neither a path nor a URL; begin it with / or https://", v)
	case len(words) == 3 && !slices.Contains([]string{"301", "302", "303", "307", "308"}, words[2]):
		return fmt.Errorf("%.64q has no status of a redirect; use 301, 302, 303, 307 or 308", v)
	}
	return nil
}

// leadsSomewhere reports whether a client finds the way to a target: to a path or a URL, or to what
// a placeholder stands for.
func leadsSomewhere(to string) bool {
	scheme, rest, ok := strings.Cut(to, "://")
	return strings.HasPrefix(to, "/") || strings.HasPrefix(to, "{") || ok && rest != "" && scheme != "" && !strings.ContainsAny(scheme, "/?#")
}

// checkLoops refuses redirects that lead back to themselves, also by others. redirects have passed
// checkRedirect.
func checkLoops(redirects []string) error {
	from, to := make([]string, len(redirects)), make([]string, len(redirects))
	for i, v := range redirects {
		words := Words(v)
		from[i], to[i] = strings.ToLower(words[0]), words[1]
	}
	next := make([]int, len(redirects))
	for i := range redirects {
		next[i] = firstFor(from, to[i])
	}
	for i := range redirects {
		at := next[i]
		for range redirects {
			if at < 0 {
				break
			}
			if at == i {
				return fmt.Errorf("%.64q leads back to itself", redirects[i])
			}
			at = next[at]
		}
	}
	return nil
}

// firstFor returns the number of the first path that a target fits, or -1 if there is none, or if
// nobody knows. Stars within a path are not looked at. Caddy does not tell the case of letters apart.
func firstFor(paths []string, target string) int {
	if !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "//") || strings.ContainsAny(target, "{}") {
		return -1
	}
	path, _, _ := strings.Cut(target, "#")
	path, _, _ = strings.Cut(path, "?")
	path = strings.ToLower(path)
	return slices.IndexFunc(paths, func(from string) bool {
		begin, star := strings.CutSuffix(from, "*")
		return path == from || star && strings.HasPrefix(path, begin)
	})
}
